"""Drives a support desk, embedded in a plain page of another origin, as a visitor would.

    drive.py URL NAME CHROMIUM ALLOWED_PORT BLOCKED_PORT [--shots DIR]

The desk lets in http://127.0.0.1:ALLOWED_PORT alone, and hands over to http://127.0.0.1:ALLOWED_PORT/hook. Prints one
JSON object; the first thing that is not as it should be ends it with code 1.
"""

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

expect.set_options(timeout=60_000)
HANDED = []


def site(port, tag):
    page = f"<!doctype html><html lang=en><title>A shop</title><style>button{{display:none}}</style><h1>A shop</h1>{tag}</html>"

    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def do_POST(self):
            HANDED.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{port}/"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("chromium")
    parser.add_argument("allowed", type=int)
    parser.add_argument("blocked", type=int)
    parser.add_argument("--shots", type=Path)
    args = parser.parse_args()
    tag = f'<script src="{args.url}/desk/{args.name}/desk.js" async></script>'
    allowed, blocked = site(args.allowed, tag), site(args.blocked, tag)
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium)
        page = browser.new_page(viewport={"width": 1000, "height": 760})
        problems, asked = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))

        def shot(name):
            if args.shots:
                args.shots.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=args.shots / f"{name}.png")

        page.goto(allowed)
        door = page.get_by_role("button", name="Ask the shop")
        expect(door).to_be_visible()
        door.click()
        field = page.get_by_role("textbox", name="Your question")
        expect(field).to_be_focused()
        expect(page.get_by_text("Hello! <b>What</b> is it?")).to_be_visible()
        found["axe"] = [one["id"] for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        assert not found["axe"], found

        def ask(question):
            field.fill(question)
            field.press("Enter")
            expect(page.get_by_role("button", name="Send").first).to_be_enabled()
            return page.locator(".turn").last

        turn = ask("How long may I send goods back?")
        expect(turn).to_contain_text("14 days")
        turn.get_by_text("Where it says so").click()
        expect(turn.locator("li")).to_contain_text(["returns.md"])
        shot("answer")
        turn = ask("And who pays the postage?")
        expect(turn).to_contain_text("postage")
        found["answers"], found["follow_up"] = True, turn.inner_text().split("\n")[0]
        turn = ask("<img src=x onerror=alert(1)> What is the capital of Mongolia?")
        expect(turn).to_contain_text("Please write to us")
        assert page.locator("img").count() == 0
        link = turn.get_by_role("link", name="Write to us").get_attribute("href")
        assert link.startswith("mailto:help@shop.example?"), link
        turn.get_by_role("button", name="Ask a person").click()
        contact = turn.get_by_role("textbox")
        contact.fill("ada@example.org")
        contact.press("Enter")
        expect(turn).to_contain_text("get back to you")
        assert HANDED and HANDED[0]["contact"] == "ada@example.org", HANDED
        found["handed_over"] = HANDED[0]["question"]
        shot("hand-over")
        page.keyboard.press("Escape")
        expect(door).to_be_focused()
        elsewhere = [url for url in asked if not url.startswith((allowed, args.url + "/desk/"))]
        assert not elsewhere and not problems, (elsewhere, problems)

        page.goto(blocked)
        page.wait_for_timeout(1500)
        assert page.locator("div").count() == 0, "a blocked site shows the desk"
        told = page.evaluate(
            """async (url) => {
                const ask = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"question":"a"}' };
                try { return (await fetch(url, ask)).status; } catch { return 'nothing'; }
            }""",
            f"{args.url}/desk/{args.name}/ask")
        assert told == "nothing", told
        found["blocked"] = told

        page.set_viewport_size({"width": 360, "height": 740})
        page.goto(f"{args.url}/desk/{args.name}")
        own = page.get_by_role("textbox", name="Your question")
        own.fill("When are you open?")
        own.press("Enter")
        expect(page.locator(".turn").last).to_contain_text("nine to five")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, wide
        shot("phone")
        found["own_page"], found["chromium"] = True, browser.version
        browser.close()
    print(json.dumps(found))


main()
