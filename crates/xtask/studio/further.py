"""What only the proof does: drawing, its steps and map, library, jobs, models, themes."""

import json
import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from begun import LEARN, create, home, learn_film, learn_language, learn_pictures, learn_sound


def name_of_draw(page):
    return page.get_by_role("button", name="Draw", exact=True)


def draw(studio):
    """A picture comes step by step, and its steps can be gone through."""
    page = studio.page
    studio.open("draw")
    page.get_by_label("Prompt").fill("a red apple")
    page.get_by_label("Model").select_option("icons")
    page.get_by_label("Seed", exact=True).fill("7")
    page.get_by_label("Prompt").press("Control+Enter")
    # On the way there are other pictures than at the end.
    expect(page.locator(".going-line")).to_be_visible()
    expect(page.locator(".result-line")).to_be_visible()
    work = page.locator(".work-big img").get_attribute("src")
    slider = page.get_by_label("Denoising step")
    steps = int(slider.get_attribute("max"))
    assert steps >= 10, f"{steps} steps were kept"
    seen = set()
    for at in (0, steps // 2, steps - 1):
        slider.fill(str(at))
        seen.add(page.locator(".work-big img").get_attribute("src"))
    assert len(seen) == 3 and work not in seen, "the slider shows the same picture at several steps"
    slider.fill(str(steps * 2 // 3))
    studio.shot("draw-step")
    slider.fill(str(steps))
    expect(page.locator(".work-big img")).to_have_attribute("src", work)
    sides = page.locator(".work-big img").evaluate("(image) => [image.naturalWidth, image.naturalHeight]")
    studio.found["draw"] = {"steps": steps, "pixels": sides}
    studio.shot("draw")


def draw_several(studio):
    page = studio.page
    page.get_by_label("Prompt").fill("a blue heart, flat")
    page.get_by_label("Pictures, as a number").fill("4")
    page.get_by_label("Pictures, as a number").press("Tab")
    name_of_draw(page).click()
    expect(page.locator(".going-line")).to_be_visible()
    expect(page.locator(".result-line")).to_be_visible()
    expect(page.locator(".work-big img")).to_have_count(4)
    seeds = page.locator(".result-line .hint").inner_text()
    assert "seed 7" in seeds, seeds
    studio.shot("draw-several")
    page.get_by_label("Pictures, as a number").fill("1")
    page.get_by_label("Pictures, as a number").press("Tab")


def compare(studio):
    page = studio.page
    page.get_by_role("button", name="Compare").click()
    thumbs = page.locator(".strip .thumb")
    thumbs.nth(0).click()
    thumbs.nth(4).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("a red apple")
    expect(dialog).to_contain_text("a blue heart, flat")
    edge = dialog.get_by_label("Edge between the pictures")
    edge.fill("30")
    studio.shot("compare")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def latent_map(studio):
    page = studio.page
    page.get_by_label("Model").select_option("icon-gan")
    page.get_by_label("Latent map").check()
    cells = page.locator(".map img")
    expect(cells).to_have_count(25, timeout=120_000)
    corners = {cells.nth(at).get_attribute("src") for at in (0, 4, 20, 24)}
    assert len(corners) == 4, "corners of the map are alike"
    view = page.locator(".map-view img")
    page.wait_for_timeout(600)
    before = view.get_attribute("src")
    page.locator(".map").focus()
    page.keyboard.press("ArrowRight")
    expect(view).not_to_have_attribute("src", before)
    mixture = page.locator(".mix span").all_inner_texts()
    assert sum(int(re.search(r"(\d+) %", text)[1]) for text in mixture) in range(98, 103), mixture
    page.locator(".map").hover(position={"x": 190, "y": 140})
    page.wait_for_timeout(900)
    studio.shot("draw-map")
    studio.found["map"] = {"pictures": 25, "mixture": mixture}
    page.get_by_label("Picture", exact=True).check()
    page.get_by_label("Model").select_option("icons")


def library(studio):
    page = studio.page
    studio.open("library")
    cards = page.locator(".work-card")
    expect(cards).to_have_count(5)
    studio.shot("library")
    page.get_by_label("Search the works").fill("heart")
    expect(cards).to_have_count(4)
    page.get_by_label("Search the works").fill("apple")
    expect(cards).to_have_count(1)
    cards.first.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New tag").fill("fruit")
    dialog.get_by_label("New tag").press("Enter")
    expect(dialog.locator(".tag")).to_contain_text("fruit")
    studio.shot("work")
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "a-red-apple.png", download.value.suggested_filename
    dialog.get_by_role("button", name="Reuse the recipe").click()
    expect(page.get_by_label("Prompt")).to_have_value("a red apple")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("7")
    studio.open("library")
    page.get_by_label("Search the works").fill("heart")
    expect(cards).to_have_count(4)
    cards.first.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete this work?").get_by_role("button", name="Delete").click()
    expect(cards).to_have_count(3)
    studio.found["library"] = "searched, tagged, downloaded, reused, deleted"


def jobs(studio):
    """A job that runs can be stopped, and one that waits can be cancelled."""
    page = studio.page
    studio.open("draw")
    page.get_by_label("Prompt").fill("a green tree")
    page.get_by_label("Pictures, as a number").fill("9")
    page.get_by_label("Steps, as a number").fill("100")
    page.get_by_label("Steps, as a number").press("Tab")
    name_of_draw(page).click()
    expect(page.locator(".going-line")).to_contain_text("Drawing")
    name_of_draw(page).click()
    page.wait_for_timeout(300)
    studio.open("jobs")
    page.get_by_label("Waiting and running").check()
    expect(page.locator(".job")).to_have_count(2)
    expect(page.get_by_role("progressbar")).to_have_count(1)
    studio.shot("jobs")
    page.get_by_role("button", name="Cancel: a green tree").last.click()
    expect(page.locator(".job")).to_have_count(1)
    page.get_by_role("button", name="Cancel: a green tree").first.click()
    expect(page.locator(".job")).to_have_count(0)
    page.get_by_label("All", exact=True).check()
    expect(page.locator(".job").first).to_contain_text("cancelled")
    studio.found["jobs"] = "a running one stopped, a waiting one cancelled"


def pull(studio):
    page = studio.page
    studio.open("models")
    # What the bar says, as long as there is one.
    page.evaluate("""() => {
        window.shares = [];
        new MutationObserver(() => {
            const bar = document.querySelector('.model [role=progressbar]');
            if (bar) window.shares.push(Number(bar.getAttribute('aria-valuenow')));
        }).observe(document.body, { childList: true, subtree: true, attributes: true });
    }""")
    page.get_by_role("button", name="Get minilm").click()
    expect(page.get_by_role("progressbar", name="Getting minilm")).to_be_visible()
    studio.shot("models-pull")
    expect(page.locator(".model", has_text="minilm")).to_contain_text("here", timeout=300_000)
    shares = sorted(set(page.evaluate("window.shares")))
    assert any(0 < share < 100 for share in shares), f"the bar showed {shares}"
    studio.found["pull"] = {"model": "minilm", "percents_seen": len(shares)}


def evict(studio):
    page = studio.page
    studio.open("models")
    memory = page.get_by_label("Memory", exact=True)
    expect(memory).to_contain_text("icons")
    studio.shot("models")
    memory.get_by_role("button", name="Take icons out of memory").click()
    expect(memory.get_by_role("button", name="Take icons out of memory")).to_have_count(0)
    studio.found["evict"] = "icons"


def begin_with(studio):
    """A picture out of the library is begun with: all of it, then what a brush has painted over."""
    page = studio.page
    studio.open("library")
    page.get_by_label("Search the works").fill("apple")
    expect(page.locator(".work-card")).to_have_count(1)
    page.locator(".work-card").first.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Begin with it").click()
    expect(page.locator(".begin-picture img")).to_be_visible()
    page.get_by_label("Prompt").fill("a green apple")
    for name, value in [("Pictures", "1"), ("Steps", "10"), ("Strength", "0.8")]:
        page.get_by_label(f"{name}, as a number").fill(value)
        page.get_by_label(f"{name}, as a number").press("Tab")
    recipe = drawn_recipe(studio)
    assert recipe["init"]["strength"] == 0.8 and "mask" not in recipe, recipe
    page.get_by_role("button", name="Paint a mask").click()
    canvas = page.get_by_label("Paint here")
    canvas.wait_for(state="visible")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.6, steps=6)
    page.mouse.up()
    studio.shot("mask")
    page.get_by_role("button", name="Use this mask").click()
    recipe = drawn_recipe(studio)
    assert "mask" in recipe, recipe
    # It comes step by step, and stops when it is told to, as any other picture.
    steps = int(page.get_by_label("Denoising step").get_attribute("max"))
    assert steps > 2, f"{steps} steps of the masked picture were kept"
    studio.shot("draw-masked")
    page.get_by_label("Pictures, as a number").fill("9")
    page.get_by_label("Steps, as a number").fill("100")
    page.get_by_label("Steps, as a number").press("Tab")
    name_of_draw(page).click()
    expect(page.locator(".going-line")).to_contain_text("Drawing")
    page.locator(".going-line").get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    page.get_by_label("Pictures, as a number").fill("1")
    page.get_by_label("Pictures, as a number").press("Tab")
    page.get_by_role("button", name="remove").click()
    studio.found["begin"] = {"with": "a picture of the library, then a mask; stopped", "steps": steps}


def drawn_recipe(studio):
    """Draws, and reads the recipe of what came."""
    page = studio.page
    before = page.locator(".result-line").count()
    name_of_draw(page).click()
    if before:
        expect(page.locator(".result-line")).to_have_count(0)
    expect(page.locator(".result-line")).to_be_visible()
    page.get_by_role("button", name="Details").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Recipe", exact=True).click()
    recipe = json.loads(dialog.locator("pre").inner_text())
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    return recipe


def accessible(studio, where):
    """What axe finds: names, roles, contrast, order."""
    found = Axe().run(studio.page).response
    problems = [f"{rule['id']} at {rule['nodes'][0]['target']}" for rule in found["violations"]]
    assert not problems, f"{where}: {problems}"
    assert len(found["passes"]) > 20, f"{where}: axe looked at {len(found['passes'])} rules only"
    studio.found.setdefault("accessible", {})[where] = len(found["passes"])


def light(studio):
    """Every page for people who do not see it as others do."""
    for name in ["home", "create", "chat", "draw", "speak", "music", "listen", "library", "jobs", *LEARN, "models", "settings"]:
        studio.open(name)
        studio.page.wait_for_timeout(400)
        accessible(studio, f"light {name}")


def dark(studio):
    """The same pages in the dark, for whoever looks at the pictures."""
    page = studio.page
    studio.open("chat")
    page.locator(".talks li a").filter(has_text="Write a Python").first.click()
    expect(page.get_by_role("article").first).to_be_visible()
    studio.theme("dark")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(23, 22, 20)", colour
    page.get_by_role("button", name="Look inside").click()
    accessible(studio, "dark chat, inside")
    studio.last_answer().locator(".token").nth(3).hover()
    studio.shot("dark-chat")
    page.get_by_role("button", name="Look inside").click()
    for name in ["home", "create", "draw", "speak", "music", "listen", "library", "jobs", *LEARN, "models", "settings"]:
        studio.open(name)
        page.wait_for_timeout(400)
        studio.shot(f"dark-{name.replace('/', '-')}")
        accessible(studio, f"dark {name}")
    studio.theme("light")
    studio.found["themes"] = ["light", "dark"]


def music(studio):
    """A tune, its roll, what the model thought of a note, and the files."""
    page = studio.page
    studio.open("music")
    page.get_by_label("Prompt").fill("a jig in G")
    page.get_by_label("Seed", exact=True).fill("7")
    page.get_by_role("button", name="Make music").click()
    notes = page.locator(".roll rect.t0")
    expect(notes.first).to_be_visible()
    count = notes.count()
    assert count > 40, f"{count} notes of the melody"
    notes.nth(3).hover()
    others = page.get_by_role("tooltip").locator("li")
    expect(others.first).to_be_visible()
    length = page.locator("audio").evaluate("(audio) => new Promise((done) => { const look = () => (audio.duration ? done(audio.duration) : setTimeout(look, 50)); look(); })")
    assert length > 5, f"{length} seconds of sound"
    studio.shot("music")
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="MIDI").click()
    assert download.value.suggested_filename.endswith(".mid")
    page.get_by_role("button", name="Keep").click()
    studio.open("library")
    page.get_by_label("Search the works").fill("jig")
    expect(page.locator(".work-card")).to_have_count(1)
    page.locator(".work-card").first.get_by_role("button").click()
    expect(page.get_by_role("dialog").locator("audio")).to_be_visible()
    page.keyboard.press("Escape")
    studio.found["music"] = {"notes": count, "seconds": round(length, 1)}


def video(studio):
    """A clip is made of words, with its frames and the way to it; where no model makes clips the page says so."""
    page = studio.page
    studio.open("video")
    if page.get_by_text("No model here makes clips").is_visible():
        studio.found["video"] = "no model"
        return
    page.get_by_label("Prompt").fill("a beating red heart")
    page.get_by_label("Seed", exact=True).fill("3")
    page.get_by_role("button", name="Make a clip").click()
    frames = page.get_by_role("group", name="Frames").get_by_role("button")
    expect(frames.first).to_be_visible(timeout=180_000)
    length = page.locator("video").first.evaluate("(video) => new Promise((done) => { const look = () => (video.duration ? done(video.duration) : setTimeout(look, 50)); look(); })")
    assert length > 1, f"{length} seconds"
    page.get_by_text("Look inside").click()
    expect(page.get_by_label("Denoising step")).to_be_visible()
    studio.shot("video")
    studio.found["video"] = {"seconds": round(length, 2), "frames": frames.count()}


def speak(studio):
    """A voice is got, and says a text; words stand in the spectrogram."""
    page = studio.page
    studio.open("models")
    page.get_by_role("button", name="Get hibari").click()
    expect(page.locator(".model", has_text="hibari")).to_contain_text("here", timeout=300_000)
    studio.open("speak")
    page.get_by_label("Text", exact=True).fill("Hello there. The quick brown fox jumps over the lazy dog.")
    page.get_by_label("Text", exact=True).press("Control+Enter")
    bounds = page.locator(".spectrogram i")
    expect(bounds).to_have_count(11)
    phonemes = page.locator(".spectrogram s").count()
    assert phonemes > 25, f"{phonemes} phonemes are marked"
    told = page.locator(".card .hint").last.inner_text()
    studio.shot("speak")
    for kind, ending in [("MP3", ".mp3"), ("WAV", ".wav")]:
        page.get_by_role("button", name="Download").click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=kind).click()
        assert download.value.suggested_filename.endswith(ending)
    studio.spoken = download.value.path()
    studio.open("chat")
    page.locator(".talks li a").first.click()
    button = studio.last_answer().get_by_role("button", name="Read aloud")
    expect(button).to_be_visible()
    button.click()
    expect(studio.last_answer().get_by_role("button", name="Stop reading")).to_be_visible()
    studio.last_answer().get_by_role("button", name="Stop reading").click()
    studio.found["speak"] = told


def listen(studio):
    """What the voice said is written down, with its waveform and the times of its words."""
    page = studio.page
    studio.open("models")
    page.get_by_role("button", name="Get whisper-base").click()
    expect(page.locator(".model", has_text="whisper-base")).to_contain_text("here", timeout=600_000)
    studio.open("listen")
    page.get_by_label("Sound file").set_input_files({"name": "fox.wav", "mimeType": "audio/wav", "buffer": studio.spoken.read_bytes()})
    expect(page.get_by_role("slider", name="Place in the sound")).to_be_visible()
    page.get_by_role("button", name="Transcribe").click()
    transcript = page.get_by_role("region", name="Transcript")
    expect(transcript).to_contain_text("quick brown fox", timeout=120_000)
    words = transcript.locator(".word").count()
    assert words > 8, f"{words} words have times"
    studio.shot("listen")
    studio.found["listen"] = {"words": words}


def chat_makes(studio):
    """Who asks for a picture or for music in a chat gets it there, and has it still after a reload."""
    page = studio.page
    studio.open("chat")
    asked = [("draw a red apple", "picture", "img"), ("compose a short waltz", "music", "audio")]
    for words, what, kind in asked:
        studio.say(words)
        expect(studio.last_answer().get_by_role("button", name=f"Save the {what}")).to_be_visible(timeout=120_000)
        expect(studio.last_answer().locator(f".chat-work {kind}")).to_be_visible()
    page.reload()
    for _, what, kind in asked:
        expect(page.locator(f".chat-work {kind}")).to_have_count(1)
    sides = page.locator(".chat-work img").evaluate("(image) => image.decode().then(() => image.naturalWidth)")
    studio.shot("chat-makes")
    studio.found["chat_makes"] = {"pixels": sides}


FURTHER = [draw, draw_several, compare, latent_map, library, jobs, pull, evict, begin_with, music, video, speak, listen, learn_language, learn_pictures, learn_sound, learn_film, home, create, chat_makes, light, dark]
