"""Drives the studio of a running `medley serve` as a person would, and says what was found.

    drive.py URL CHROMIUM [--key K] [--shots DIR] [--all]

Without --all: chat, stop, reload, look inside, phone. With it: drawing, the steps, the latent map, library, jobs, getting a
model, themes. Prints one JSON object; the first thing that is not as it should be ends it with one line and code 1.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

PATIENCE = 120_000
expect.set_options(timeout=60_000)
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}
# What a person may see on a page that is as it should be.
PAGES = ["home", "create", "chat", "draw", "speak", "music", "video", "listen", "library", "jobs", "learn", "models", "settings"]


class Studio:
    def __init__(self, page, args):
        self.page, self.args, self.found, self.problems = page, args, {}, []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self.heard)

    def heard(self, message):
        # Asking without a key is how the studio finds out that it needs one.
        expected = self.args.key and "status of 401" in message.text
        if message.type == "error" and not expected:
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")

    def open(self, path):
        self.page.goto(f"{self.args.url}/#/{path}")
        expect(self.page.locator("main")).to_be_visible()

    def shot(self, name):
        if self.args.shots:
            self.args.shots.mkdir(parents=True, exist_ok=True)
            self.page.wait_for_timeout(350)
            self.page.screenshot(path=self.args.shots / f"{name}.png")

    def theme(self, name):
        self.page.evaluate(
            """(theme) => {
                const kept = JSON.parse(localStorage.getItem('medley.settings') || '{}');
                localStorage.setItem('medley.settings', JSON.stringify({ ...kept, theme }));
            }""",
            name,
        )
        self.page.reload()
        expect(self.page.locator("main")).to_be_visible()

    def say(self, text):
        field = self.page.get_by_role("textbox", name="Message", exact=True)
        field.fill(text)
        field.press("Enter")

    def last_answer(self):
        return self.page.get_by_role("article", name="Answer").last

    def fits(self, where):
        width = self.page.evaluate("Math.max(document.documentElement.scrollWidth, document.querySelector('main').scrollWidth)")
        assert width <= PHONE["width"], f"{where}: {width} pixels wide on a phone of {PHONE['width']}"


def key(studio):
    """A server with a key asks for it once; a wrong one is told."""
    studio.open("chat")
    if not studio.args.key:
        return
    dialog = studio.page.get_by_role("dialog")
    dialog.get_by_label("API key").fill("wrong")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not accepted")
    dialog.get_by_label("API key").fill(studio.args.key)
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog).to_have_count(0)
    studio.found["key"] = "asked for, refused when wrong, accepted when right"


def modules(studio):
    """Every page can be read; events arrive cut anywhere; text of models never becomes HTML."""
    pages = studio.page.evaluate("""async () => {
        const { pages } = await import('/assets/pages.js');
        const read = await Promise.all(pages.map((page) => page.load()));
        return read.map(({ Page }, index) => [pages[index].id, typeof Page]);
    }""")
    assert [name for name, kind in pages if kind == "function"] == PAGES, pages
    read = studio.page.evaluate("""async () => {
        const { events } = await import('/assets/lib/api.js');
        const text = 'event: progress\\ndata: {"a":1}\\n\\n: nothing\\n\\ndata: one\\r\\ndata: two\\r\\n\\r\\ndata: ü🙂\\n\\n';
        const bytes = new TextEncoder().encode(text);
        const all = [];
        for (const size of [1, 2, 3, 7, bytes.length]) {
            const stream = new ReadableStream({ start(to) {
                for (let at = 0; at < bytes.length; at += size) to.enqueue(bytes.slice(at, at + size));
                to.close();
            } });
            const found = [];
            for await (const { event, data } of events({ body: stream })) found.push([event, data]);
            all.push(JSON.stringify(found));
        }
        return [...new Set(all)];
    }""")
    expected = [["progress", '{"a":1}'], ["message", "one\ntwo"], ["message", "ü🙂"]]
    assert [json.loads(text) for text in read] == [expected], f"events: {read}"
    shown = studio.page.evaluate("""async () => {
        const { html, render } = await import('/assets/lib/html.js');
        const { Markdown } = await import('/assets/lib/markdown.js');
        const text = '<img src=x onerror=alert(1)>\\n\\n<script>alert(2)</script>\\n\\n[a](javascript:alert(3)) ![b](http://example.org/b.png) **c** `<d>`';
        const root = document.createElement('div');
        render(html`<${Markdown} text=${text} />`, root);
        return { text: root.innerText, bad: root.querySelectorAll('img, script, a, [onerror]').length, strong: root.querySelectorAll('strong').length };
    }""")
    assert shown["bad"] == 0 and shown["strong"] == 1, shown
    assert "<img src=x onerror=alert(1)>" in shown["text"] and "<d>" in shown["text"], shown
    studio.found["modules"] = "all pages read, events cut anywhere, no HTML out of texts"


def chat_streams(studio):
    page = studio.page
    expect(page.get_by_role("combobox", name="Model")).to_contain_text("smollm2-135m")
    # The program brings a model that goes on with Python, and answers nobody.
    offered = page.get_by_role("combobox", name="Model").locator("option").all_inner_texts()
    assert "python-lm" not in offered and "icons" not in offered, f"offered in Chat: {offered}"
    page.get_by_role("combobox", name="Model").select_option("smollm2-135m")
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_label("Temperature, as a number").fill("0")
    page.get_by_label("Temperature, as a number").press("Tab")
    page.get_by_role("button", name="Close the settings").click()
    # Lengths of the answer as it grows, seen from inside the page.
    page.evaluate("""() => {
        window.lengths = new Set();
        new MutationObserver(() => {
            const answers = document.querySelectorAll('.message.assistant');
            const last = answers[answers.length - 1];
            if (last) window.lengths.add(last.innerText.length);
        }).observe(document.body, { childList: true, subtree: true, characterData: true });
    }""")
    studio.say("Write a Python function that reverses a string.")
    answer = studio.last_answer()
    expect(answer).to_have_attribute("aria-busy", "false", timeout=PATIENCE)
    lengths = page.evaluate("window.lengths.size")
    assert lengths > 5, f"the answer came in {lengths} pieces"
    expect(answer.get_by_role("button", name="Copy the answer")).to_be_visible()
    expect(answer.locator(".code").first).to_be_visible()
    studio.found["chat"] = {"pieces": lengths, "letters": len(answer.inner_text())}
    studio.shot("chat")


def look_inside(studio):
    page = studio.page
    page.get_by_role("button", name="Look inside").click()
    tokens = studio.last_answer().locator(".token")
    count = tokens.count()
    assert count > 10, f"{count} tokens are shown"
    tokens.nth(6).hover()
    others = page.get_by_role("tooltip")
    expect(others).to_be_visible()
    shares = others.locator("li > span:last-child").all_inner_texts()
    assert len(shares) >= 5 and all(text.endswith("%") for text in shares), f"alternatives: {shares}"
    total = sum(float(text.strip("<% ")) for text in shares)
    assert 1 < total <= 101, f"the alternatives make {total} percent"
    tokens.nth(6).click()
    tokens.nth(6).focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(7)).to_be_focused()
    facts = studio.last_answer().locator(".measures dt").all_inner_texts()
    assert {"Prefill", "Decode", "First word", "Rate", "Perplexity"} <= set(facts), f"measured: {facts}"
    tokens.nth(6).hover()
    studio.found["inside"] = {"tokens": count, "alternatives": shares, "measures": studio.last_answer().locator(".measures dd").all_inner_texts()}
    studio.shot("chat-inside")
    page.get_by_role("button", name="Look inside").click()


def stop_works(studio):
    page = studio.page
    studio.say("Count from one to three hundred in words, one number on each line.")
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_visible()
    # Words of the answer, not those that say it is on its way.
    page.wait_for_function("() => ([...document.querySelectorAll('.message.assistant')].pop().querySelector('.prose')?.innerText.length ?? 0) > 60")
    begun = time.monotonic()
    stop.click()
    expect(studio.last_answer()).to_contain_text("Stopped.")
    page.wait_for_timeout(100)
    text = studio.last_answer().inner_text()
    page.wait_for_timeout(700)
    assert studio.last_answer().inner_text() == text, "the answer grows after Stop"
    studio.found["stop"] = {"seconds": round(time.monotonic() - begun - 0.8, 2), "letters": len(text)}


def reload_keeps(studio):
    page = studio.page
    before = page.get_by_role("article").all_inner_texts()
    page.wait_for_timeout(1000)
    page.reload()
    expect(page.get_by_role("article")).to_have_count(len(before))
    after = page.get_by_role("article").all_inner_texts()
    assert [text[:80] for text in after] == [text[:80] for text in before], "a reload changes the chat"
    expect(page.locator(".talks li")).to_have_count(1)
    studio.found["reload"] = {"messages": len(after)}


def branches(studio):
    page = studio.page
    first = page.get_by_role("article", name="You").first
    first.get_by_role("button", name="Edit and branch").click()
    field = page.get_by_label("Edit the message")
    field.fill("Say hello.")
    page.get_by_role("button", name="Send as a new version").click()
    expect(page.get_by_role("article", name="You").first).to_contain_text("2/2")
    expect(studio.last_answer()).to_have_attribute("aria-busy", "false")
    studio.last_answer().get_by_role("button", name="Answer anew").click()
    expect(studio.last_answer()).to_contain_text("2/2")
    expect(studio.last_answer()).to_have_attribute("aria-busy", "false")
    page.get_by_role("article", name="You").first.get_by_role("button", name="Version before").click()
    expect(page.get_by_role("article", name="You").first).to_contain_text("reverses a string")
    studio.found["branches"] = "edit, answer anew, back to the version before"


def phone(studio):
    page = studio.page
    page.set_viewport_size(PHONE)
    for name in PAGES:
        studio.open(name)
        page.wait_for_timeout(250)
        studio.fits(name)
        if studio.args.all:
            studio.shot(f"phone-{name}")
    # Every page can be reached with the bar alone.
    page.get_by_role("button", name="More").click()
    page.get_by_role("link", name="Settings").last.click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    page.set_viewport_size(DESK)
    studio.found["phone"] = {"width": PHONE["width"], "pages": PAGES}


SMOKE = [key, modules, chat_streams, look_inside, stop_works, reload_keeps, phone]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("chromium")
    parser.add_argument("--key")
    parser.add_argument("--shots", type=Path)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    args.url = args.url.rstrip("/")
    steps = SMOKE
    if args.all:
        from further import FURTHER

        steps = [*SMOKE[:-1], branches, *FURTHER, phone]
    times = {}
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers do not give; only this machine's pages are opened.
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport=DESK, accept_downloads=True).new_page()
        studio = Studio(page, args)
        for step in steps:
            begun = time.monotonic()
            try:
                step(studio)
                assert not studio.problems, f"the browser says: {studio.problems[0]}"
            except Exception as problem:
                studio.shot("failure")
                print(f"{step.__name__}: {problem}", file=sys.stderr)
                return 1
            times[step.__name__] = round(time.monotonic() - begun, 1)
        version = browser.version
        browser.close()
    print(json.dumps({"chromium": version, "seconds": times, "found": studio.found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
