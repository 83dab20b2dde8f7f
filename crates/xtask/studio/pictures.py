"""The pictures of the studio in the README, from a running `medley serve`:

    pictures.py URL CHROMIUM

Writes docs/images/studio-chat.png, studio-draw.png and piano-roll.png, each under 200 kB.
"""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

IMAGES = Path(__file__).resolve().parents[3] / "docs/images"
LIMIT = 200_000


def keep(seen, name):
    """A picture of the page or a part of it, in as many colours as there is room for."""
    (seen if hasattr(seen, "wait_for_timeout") else seen.page).wait_for_timeout(500)
    picture = Image.open(io.BytesIO(seen.screenshot())).convert("RGB")
    for colours in (256, 192, 128, 64):
        out = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() < LIMIT:
            break
    (IMAGES / name).write_bytes(out.getvalue())
    print(name, picture.size, colours, "colours", out.tell(), "bytes")


def chat(page, url):
    page.goto(f"{url}/#/chat")
    for text, seed in [("Give me five names for a small bakery.", "3"), ("Explain in two sentences why bread rises.", "1")]:
        page.get_by_role("button", name="New chat").click()
        expect(page.get_by_role("article")).to_have_count(0)
        page.get_by_role("button", name="Settings of this chat").click()
        page.get_by_label("Seed").fill(seed)
        page.get_by_role("button", name="Close the settings").click()
        field = page.get_by_role("textbox", name="Message", exact=True)
        field.fill(text)
        field.press("Enter")
        answer = page.get_by_role("article", name="Answer").last
        expect(answer.get_by_role("button", name="Answer anew")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Look inside").click()
    tokens = page.locator(".token")
    chances = page.evaluate("[...document.querySelectorAll('.token')].map((token) => Number(token.style.getPropertyValue('--heat')))")
    # One of the first third that was a surprise: its alternatives are worth a look, and hide nothing before them.
    third = chances[2 : len(chances) // 3]
    tokens.nth(2 + third.index(max(third))).hover()
    expect(page.get_by_role("tooltip")).to_be_visible()
    keep(page, "studio-chat.png")


def draw(page, url):
    page.goto(f"{url}/#/draw")
    for text, seed in [("a yellow sun", "2"), ("a red apple", "7"), ("a green tree", "4"), ("a blue heart, flat", "5")]:
        page.get_by_label("Prompt").fill(text)
        page.get_by_label("Seed", exact=True).fill(seed)
        page.get_by_label("Prompt").press("Control+Enter")
        expect(page.locator(".going-line")).to_be_visible()
        expect(page.locator(".result-line")).to_be_visible(timeout=60_000)
    slider = page.get_by_label("Denoising step")
    slider.fill(str(int(slider.get_attribute("max")) // 4))
    slider.blur()
    keep(page, "studio-draw.png")


def music(page, url):
    page.goto(f"{url}/#/music")
    page.get_by_label("Prompt").fill("a slow waltz in D minor")
    page.get_by_label("Seed", exact=True).fill("4")
    page.get_by_role("button", name="Make music").click()
    expect(page.locator(".roll rect").first).to_be_visible(timeout=60_000)
    page.mouse.move(0, 0)
    keep(page.locator(".roll"), "piano-roll.png")


def main():
    url, chromium, *only = sys.argv[1:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1180, "height": 740}).new_page()
        for picture in (chat, draw, music):
            if not only or picture.__name__ in only:
                picture(page, url.rstrip("/"))
        browser.close()


if __name__ == "__main__":
    main()
