"""Has Chromium read the films of a folder, and says what it saw.

    drive.py FOLDER CHROMIUM

The folder holds manifest.json, the films that it names, and beside each FILE its frames without loss in FILE.frames. Prints a
JSON list; the first film that is not as the manifest says ends it with one line and code 1.
"""

import functools
import json
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import sync_playwright

# How far a frame may be from the one that was written, of 255 in the mean; a palette is further.
NEAR = {"image/gif": 8.0}
# How far apart sound and picture may be, in seconds.
APART = 0.02

READ = """
async (film) => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [film.width, film.height];
    const paint = canvas.getContext('2d', { willReadFrequently: true });
    const pixels = (source) => {
        paint.fillStyle = '#fff';
        paint.fillRect(0, 0, film.width, film.height);
        paint.drawImage(source, 0, 0);
        return paint.getImageData(0, 0, film.width, film.height).data;
    };
    const still = async (index) => {
        const name = `frame-${String(index + 1).padStart(5, '0')}.png`;
        return createImageBitmap(await (await fetch(`${film.file}.frames/${name}`)).blob());
    };
    // The mean difference, and the mean brightness of what was read; an odd side has one row more in the film.
    const difference = async (got, index) => {
        const want = await still(index);
        const [width, height] = [want.width, want.height];
        const reference = pixels(want);
        let [gap, light] = [0, 0];
        for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) {
            const at = (y * film.width + x) * 4 + c;
            gap += Math.abs(got[at] - reference[at]);
            light += got[at];
        }
        const count = width * height * 3;
        return [gap / count, light / count];
    };
    const compare = async (index, source) => {
        const got = pixels(source).slice();
        const beside = [index - 1, index + 1].filter((other) => other >= 0 && other < film.frames);
        const others = await Promise.all(beside.map((other) => difference(got, other)));
        const [gap, light] = await difference(got, index);
        if (others.some(([other]) => other <= gap)) found.wrong.push(index);
        return [gap, light];
    };
    const found = { gaps: [], lights: [], wrong: [] };
    const note = ([gap, light]) => { found.gaps.push(gap); found.lights.push(light); };
    if (film.mime.startsWith('image/')) {
        const type = film.mime === 'image/apng' ? 'image/png' : film.mime;
        const data = await (await fetch(film.file)).arrayBuffer();
        const decoder = new ImageDecoder({ data, type });
        await decoder.tracks.ready;
        await decoder.completed;
        found.frames = decoder.tracks.selectedTrack.frameCount;
        found.seconds = 0;
        for (let frameIndex = 0; frameIndex < found.frames; frameIndex++) {
            const { image } = await decoder.decode({ frameIndex });
            found.seconds += image.duration / 1e6;
            [found.width, found.height] = [image.displayWidth, image.displayHeight];
            note(await compare(frameIndex, image));
            image.close();
        }
        return found;
    }
    const video = document.createElement('video');
    document.body.append(video);
    const happens = (name) => new Promise((done, failed) => {
        video.addEventListener(name, done, { once: true });
        video.addEventListener('error', () => failed(new Error(video.error?.message)), { once: true });
    });
    video.muted = true;
    // Out of memory: the server knows no ranges, without which nothing can be jumped to.
    video.src = URL.createObjectURL(await (await fetch(film.file)).blob());
    await happens('canplaythrough');
    [found.width, found.height, found.seconds] = [video.videoWidth, video.videoHeight, video.duration];
    for (let index = 0; index < film.frames; index++) {
        // On a busy machine a frame may come a little after the word that it is there.
        const painted = new Promise((done) => { video.requestVideoFrameCallback(done); setTimeout(done, 500); });
        const there = happens('seeked');
        video.currentTime = (index + 0.5) / film.rate;
        await Promise.all([there, painted]);
        note(await compare(index, video));
    }
    // Played from its start to its end, as fast as it says.
    let there = happens('seeked');
    video.currentTime = 0;
    await there;
    const before = video.getVideoPlaybackQuality().totalVideoFrames;
    there = happens('ended');
    const start = performance.now();
    await video.play();
    await there;
    found.played = (performance.now() - start) / 1000;
    found.counted = video.getVideoPlaybackQuality().totalVideoFrames - before;
    video.remove();
    if (film.sound) {
        const context = new OfflineAudioContext(1, 48000, 48000);
        const sound = await context.decodeAudioData(await (await fetch(film.file)).arrayBuffer());
        const samples = sound.getChannelData(0);
        found.click = samples.findIndex((sample) => Math.abs(sample) > 0.3) / sound.sampleRate;
    }
    return found;
}
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def held(film, found):
    """One film, held against what it should be."""
    name = film["file"]
    lights = found["lights"]
    brightest = lights.index(max(lights))
    assert len(lights) == film["frames"], f"{name}: {len(lights)} frames"
    assert not found["wrong"], f"{name}: other frames are shown in the place of {found['wrong']}"
    assert brightest == film["flash"], f"{name}: the flash is in frame {brightest}"
    assert (found["width"], found["height"]) == (film["width"], film["height"]), f"{name}: {found}"
    # Animations count in hundredths or thousandths of seconds.
    assert abs(found["seconds"] - film["seconds"]) < 0.006, f"{name}: {found['seconds']} s"
    gap = sum(found["gaps"]) / len(found["gaps"])
    assert gap < NEAR.get(film["mime"], 4.0), f"{name}: {gap} off in the mean"
    said = {"file": name, "frames": len(lights), "seconds": round(found["seconds"], 4), "mean_gap": round(gap, 2)}
    if "played" in found:
        # On a busy machine it takes a little longer, and the last frames are counted after the end.
        assert -0.1 < found["played"] - film["seconds"] < 1, f"{name}: played in {found['played']} s"
        said |= {"frames_played": found["counted"], "played_in": round(found["played"], 2)}
    if film["sound"]:
        apart = found["click"] - film["flash"] / film["rate"]
        assert abs(apart) < APART, f"{name}: sound {apart} s after the picture"
        said["sound_after_picture_ms"] = round(apart * 1000, 2)
    return said


def main():
    folder, chromium = Path(sys.argv[1]), sys.argv[2]
    films = json.loads((folder / "manifest.json").read_text())
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--autoplay-policy=no-user-gesture-required"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/manifest.json")
        seen = [held(film, page.evaluate(READ, film)) for film in films]
        print(json.dumps({"chromium": browser.version, "films": seen}))
        browser.close()


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(str(error))
