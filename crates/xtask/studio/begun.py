"""What the proof does on the pages that begin and explain: home, create, learn."""

import re

from playwright.sync_api import expect

LESSONS = ["transformer", "diffusion", "gan", "voice", "film", "which"]
LEARN = ["learn", *(f"learn/{name}" for name in LESSONS)]


def learn_language(studio):
    """Tokens, what comes next and attention, live; the sliders reshape the bars as the server samples."""
    page = studio.page
    studio.open("learn/transformer")
    page.get_by_label("Begin a text").fill("The capital of France is")
    bars = page.locator(".next li")
    expect(bars.first).to_contain_text("Paris")
    expect(bars).to_have_count(13)
    share = lambda at: float(bars.nth(at).locator("span").last.inner_text().strip("<% "))
    before = share(0)
    assert 20 < before < 100 and abs(sum(share(at) for at in range(13)) - 100) < 1, before
    set_number(page, "Temperature", "2")
    assert share(0) < before, "a higher temperature makes the likeliest likelier"
    set_number(page, "Top k", "1")
    expect(bars.first).to_contain_text("100 %")
    pieces = page.get_by_role("group", name="The text as tokens").get_by_role("button")
    count = pieces.count()
    bars.first.get_by_role("button").click()
    expect(page.get_by_label("Begin a text")).to_have_value("The capital of France is Paris")
    expect(pieces).to_have_count(count + 1)
    page.get_by_role("button", name="Write on").click()
    expect(page.get_by_role("button", name="Write on")).to_be_visible()
    expect(page.get_by_label("Begin a text")).not_to_have_value("The capital of France is Paris")
    looked = page.get_by_role("group", name="What the chosen token looks at").get_by_role("button")
    looked.nth(3).click()
    expect(looked.nth(4)).to_have_attribute("aria-label", re.compile("comes later"))
    shares = [float(re.search(r"([0-9.]+) %", looked.nth(at).get_attribute("aria-label"))[1]) for at in range(4)]
    assert abs(sum(shares) - 100) < 1, shares
    first = page.locator(".heads canvas").nth(1).evaluate("(canvas) => canvas.toDataURL()")
    set_number(page, "Layer", "2")
    assert page.locator(".heads canvas").nth(1).evaluate("(canvas) => canvas.toDataURL()") != first, "all layers look alike"
    studio.shot("learn-transformer")
    # The sliders say what the server does: nothing but the likeliest is left in its samples either.
    same = page.evaluate("""async () => {
        const { reshape } = await import('/assets/pages/learn/reshape.js');
        const logprobs = [0.5, 0.25, 0.125].map(Math.log);
        const next = { candidates: logprobs.map((logprob, id) => ({ id, logprob })), rest: [[Math.log(0.0625), 2]] };
        const q = (values) => { const { rows, others } = reshape(next, { temperature: 1, topK: 0, topP: 1, ...values }); return [...rows.map((row) => row.q), others.q]; };
        return [q({}), q({ topK: 2 }), q({ topP: 0.7 }), q({ temperature: 0.5, topK: 2 }), q({ temperature: 0 })].map((all) => all.map((one) => Number(one.toFixed(4))));
    }""")
    assert same == [[0.5, 0.25, 0.125, 0.125], [0.6667, 0.3333, 0, 0], [0.6667, 0.3333, 0, 0], [0.8, 0.2, 0, 0], [1, 0, 0, 0]], same
    studio.found["learn_language"] = {"paris": before, "looks": shares}


def set_number(page, name, value):
    page.get_by_label(f"{name}, as a number").fill(value)
    page.get_by_label(f"{name}, as a number").press("Tab")


def learn_pictures(studio):
    """Noise and what is seen in it at every step, the same for two prompts; guidance; a walk between two seeds."""
    page = studio.page
    studio.open("learn/diffusion")
    page.get_by_role("button", name="Take the noise away").click()
    slider = page.get_by_label("Denoising step")
    expect(slider).to_be_visible()
    pictures = page.locator(".pair img")
    expect(pictures).to_have_count(4)
    last = int(slider.get_attribute("max"))
    seen = []
    for at in ("0", str(last)):
        slider.fill(at)
        seen.append([pictures.nth(index).get_attribute("src") for index in range(4)])
    assert len({source for four in seen for source in four}) == 8, "pictures are alike"
    slider.fill("6")
    page.get_by_role("button", name="Draw at").click()
    expect(page.locator(".pictures.four img")).to_have_count(4)
    studio.shot("learn-diffusion")
    studio.open("learn/gan")
    between = page.get_by_role("group", name="From one seed to the other").locator("img")
    expect(between).to_have_count(9)
    expect(page.locator(".map img")).to_have_count(25)
    studio.shot("learn-gan")
    # What is shown here is no work.
    studio.open("library")
    expect(page.locator(".works, .empty").first).to_be_visible()
    page.get_by_label("Search the works").fill("green tree")
    expect(page.locator(".work-card")).to_have_count(0)
    studio.found["learn_pictures"] = {"steps": last, "guidance": 4, "between": 9}


def learn_sound(studio):
    """Phonemes, waveform, spectrogram and words of a sentence; one phoneme alone; all models in small."""
    page = studio.page
    studio.open("learn/voice")
    page.get_by_role("button", name="Say it").click()
    phonemes = page.locator(".said button")
    expect(phonemes.first).to_be_visible()
    expect(page.locator(".spectrogram u")).to_have_count(page.locator(".said li").count())
    count = phonemes.count()
    phonemes.nth(2).click()
    expect(page.locator(".close-up svg")).to_be_visible()
    studio.shot("learn-voice")
    studio.open("learn/which")
    page.get_by_role("button", name="Draw a heart").click()
    expect(page.locator(".one img")).to_be_visible()
    expect(page.get_by_label("Denoising step")).to_be_visible()
    expect(page.get_by_label("From one seed to the other").locator("img")).to_have_count(4)
    studio.shot("learn-which")
    studio.found["learn_sound"] = {"phonemes": count}


def learn_film(studio):
    """A clip comes out of noise; its frames at every step, and what changes between them."""
    page = studio.page
    studio.open("learn/film")
    page.get_by_role("button", name="Make a clip").click()
    slider = page.get_by_label("Denoising step")
    expect(slider).to_be_visible(timeout=180_000)
    strip = page.locator("img.way")
    slider.fill("0")
    first = strip.get_attribute("src")
    slider.fill(str(int(slider.get_attribute("max")) - 1))
    assert strip.get_attribute("src") != first
    changes = page.locator("canvas.way").evaluate("(canvas) => canvas.width / canvas.height")
    assert changes == 16, changes
    studio.shot("learn-film")
    studio.found["learn_film"] = {"frames": changes}


def home(studio):
    """One box: its words say what they ask for, a chip overrules them, and the page of the medium begins."""
    page = studio.page
    studio.open("home")
    box = page.get_by_role("textbox", name="What shall I make?")
    chips = page.get_by_role("group", name="What it becomes")
    box.fill("Draw a green apple")
    expect(chips.get_by_role("button", pressed=True)).to_have_text("Picture")
    chips.get_by_role("button", name="Music").click()
    expect(chips.get_by_role("button", pressed=True)).to_have_text("Music")
    chips.get_by_role("button", name="Music").click()
    studio.shot("home")
    box.press("Enter")
    expect(page.locator(".result-line")).to_be_visible()
    expect(page.get_by_label("Prompt")).to_have_value(re.compile("green apple"))
    studio.open("home")
    expect(page.locator(".recent .work-card").first).to_be_visible()
    box.fill("a waltz in D")
    expect(chips.get_by_role("button", pressed=True)).to_have_text("Music")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".roll rect").first).to_be_visible()
    studio.found["home"] = "a picture and a tune, begun from the box"


def create(studio):
    """A brief becomes works, one after another; stopped and gone on with; one prompt changed makes that work anew."""
    page = studio.page
    studio.open("create")
    page.get_by_label("What is it about?").fill("Ember, a smokeless campfire for small balconies: launch campaign, warm and witty")
    studio.shot("create-start")
    page.get_by_role("button", name="Make all of it").click()
    works = page.locator(".made")
    done = page.locator(".made:not(.coming)")
    expect(done.first).to_be_visible(timeout=180_000)
    page.get_by_role("button", name="Stop").click()
    go_on = page.get_by_role("button", name="Go on")
    expect(go_on).to_be_visible(timeout=180_000)
    kept = done.count()
    assert 0 < kept < works.count(), f"{kept} of {works.count()} works when it was stopped"
    go_on.click()
    state = page.locator(".creation-head .tag")
    expect(state).to_have_text("done", timeout=400_000)
    expect(done).to_have_count(works.count())
    for kind in ("img", "audio", "video"):
        expect(page.locator(f".made {kind}").first).to_be_visible()
    expect(page.frame_locator(".made-page").locator("h1")).to_be_visible()
    studio.shot("create")
    before = page.locator(".made-picture img").first.get_attribute("src")
    page.get_by_role("button", name="Change the plan").click()
    plan = page.get_by_role("dialog")
    picture = plan.locator("details", has_text="Not to be seen").or_(plan.locator("details", has_text="Prompt")).first
    picture.locator("summary").click()
    studio.shot("create-plan")
    picture.get_by_label("Prompt").fill("a red heart")
    plan.get_by_role("button", name="Make anew what changed").click()
    expect(plan).to_have_count(0)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(state).to_have_text("done", timeout=400_000)
    assert page.locator(".made-picture img").first.get_attribute("src") != before, "the changed picture is the old one"
    with page.expect_download() as download:
        page.get_by_role("button", name="All as one file").click()
    assert download.value.suggested_filename.endswith(".zip")
    studio.found["create"] = {"works": works.count(), "kept_when_stopped": kept}
