"""The pages of some creations in Chromium at two widths: everything in them is there, and nothing stands out over the edge.

drive.py FOLDER CHROMIUM SHOTS NAME...: FOLDER/NAME/index.html is opened; prints one JSON object.
"""

import json
import pathlib
import sys

from playwright.sync_api import sync_playwright

LOOK = """async () => {
    const ready = media => new Promise(done => {
        if (media.readyState >= 2) return done();
        media.addEventListener('loadeddata', done, { once: true });
        media.addEventListener('error', done, { once: true });
        setTimeout(done, 10000);
        media.preload = 'auto';
        media.load();
    });
    await Promise.all([...document.querySelectorAll('video, audio')].map(ready));
    const pictures = [...document.images];
    const media = [...document.querySelectorAll('video, audio')];
    return {
        pictures: pictures.length,
        broken: pictures.filter(picture => !picture.naturalWidth).length,
        unnamed: pictures.filter(picture => !picture.alt).length,
        media: media.length,
        silent: media.filter(one => one.error || !(one.duration > 0)).length,
        over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        outside: performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith('data:')).length,
        heading: document.querySelector('h1')?.textContent ?? '',
    };
}"""


def main():
    folder, chromium, shots, *names = sys.argv[1:]
    pathlib.Path(shots).mkdir(parents=True, exist_ok=True)
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in names:
            for width in (390, 1280):
                page = browser.new_page(viewport={"width": width, "height": 900})
                errors = []
                page.on("pageerror", lambda error: errors.append(str(error)))
                page.goto((pathlib.Path(folder) / name / "index.html").absolute().as_uri())
                seen = page.evaluate(LOOK)
                seen["errors"] = errors
                page.screenshot(path=f"{shots}/{name}-{width}.png", full_page=True)
                found[f"{name}-{width}"] = seen
                page.close()
        version = browser.version
        browser.close()
    print(json.dumps({"chromium": version, "pages": found}))


main()
