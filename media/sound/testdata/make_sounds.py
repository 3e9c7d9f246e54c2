"""Makes the small recordings here and reference.json, which has what ffmpeg's decoders hear in them.

    pip install numpy imageio-ffmpeg && python make_sounds.py

Made with ffmpeg 9.0.2 (libopus, libmp3lame, libvorbis). reference.json has, for each file: its rate, the number of samples, and every
STEP-th sample of the channels' mean, times 32768. Opus is decoded by libopus, which ffmpeg's own decoder differs from in the last bits.
"""

import json
import subprocess

import imageio_ffmpeg
import numpy as np

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
STEP = 16


def ffmpeg(*args, stdin=None):
    return subprocess.run([FFMPEG, "-y", "-v", "error", *args], check=True, input=stdin, stdout=subprocess.PIPE).stdout


def source(rate, seconds, channels):
    """Sweeps, a fading tone and a little noise, different in each channel."""
    t = np.arange(round(rate * seconds)) / rate
    rng = np.random.default_rng(7)
    sound = [0.4 * np.sin(2 * np.pi * (200 + 150 * c + 2000 * t) * t) + 0.2 * np.sin(2 * np.pi * 1234 * t) * np.exp(-9 * t)
             + 0.02 * rng.standard_normal(len(t)) for c in range(channels)]
    return np.stack(sound, 1).astype("<f4").tobytes()


def make(name, rate, seconds, channels, *args):
    ffmpeg("-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", "-", *args, "-fflags", "+bitexact", "-flags:a", "+bitexact", name, stdin=source(rate, seconds, channels))


def listen(name, rate, channels):
    decoder = ("-c:a", "libopus") if name.endswith("opus") else ()
    raw = ffmpeg(*decoder, "-i", name, "-f", "f32le", "-c:a", "pcm_f32le", "-")
    mean = np.frombuffer(raw, "<f4").reshape(-1, channels).astype(np.float64).mean(1) * 32768
    return {"rate": rate, "samples": len(mean), "step": STEP, "data": [round(v, 1) for v in mean[::STEP].tolist()]}


FILES = [
    ("u8.wav", 8000, 0.04, 1, "-c:a", "pcm_u8"),
    ("s16.wav", 8000, 0.04, 2, "-c:a", "pcm_s16le"),
    ("s24.wav", 8000, 0.04, 2, "-c:a", "pcm_s24le"),
    ("s32.wav", 8000, 0.04, 1, "-c:a", "pcm_s32le"),
    ("f32.wav", 8000, 0.04, 2, "-c:a", "pcm_f32le"),
    ("f64.wav", 8000, 0.04, 1, "-c:a", "pcm_f64le"),
    ("alaw.wav", 8000, 0.04, 1, "-c:a", "pcm_alaw"),
    ("mulaw.wav", 8000, 0.04, 1, "-c:a", "pcm_mulaw"),
    ("surround.wav", 8000, 0.04, 6, "-c:a", "pcm_s16le"),
    ("rf64.wav", 8000, 0.04, 1, "-c:a", "pcm_s16le", "-rf64", "always"),
    ("s16.flac", 44100, 0.03, 2, "-sample_fmt", "s16", "-frame_size", "256"),
    ("s24.flac", 16000, 0.03, 1, "-sample_fmt", "s32"),
    ("mpeg1.mp3", 44100, 0.2, 2, "-c:a", "libmp3lame", "-b:a", "96k"),
    ("mpeg2.mp3", 16000, 0.2, 1, "-c:a", "libmp3lame", "-b:a", "32k"),
    ("stereo.ogg", 44100, 0.2, 2, "-c:a", "libvorbis", "-q:a", "1", "-page_duration", "40000"),
    ("celt.opus", 48000, 0.2, 2, "-c:a", "libopus", "-b:a", "64k", "-page_duration", "40000"),
    ("hybrid.opus", 48000, 0.2, 1, "-c:a", "libopus", "-b:a", "24k", "-application", "voip"),
    ("silk.opus", 48000, 0.2, 1, "-c:a", "libopus", "-b:a", "12k", "-application", "voip"),
]

reference = {}
for name, rate, seconds, channels, *args in FILES:
    make(name, rate, seconds, channels, *args)
    reference[name] = listen(name, rate, channels)
# Files that are refused.
make("surround.opus", 48000, 0.02, 6, "-c:a", "libopus", "-b:a", "64k")
make("mpeg25.mp3", 8000, 0.2, 1, "-c:a", "libmp3lame", "-b:a", "16k")
make("m4a.m4a", 8000, 0.02, 1, "-c:a", "aac")
make("adpcm.wav", 8000, 0.02, 1, "-c:a", "adpcm_ima_wav")
with open("reference.json", "w") as f:
    f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in reference.items()) + "\n}\n")
