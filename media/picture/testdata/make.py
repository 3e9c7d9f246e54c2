"""Makes the picture files of this folder and, in want/, what Pillow sees in them. See README.md."""
import glob, json, os, struct, subprocess

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageOps
import pillow_heif

pillow_heif.register_heif_opener()
os.chdir(os.path.dirname(os.path.abspath(__file__)))
for d in ("files", "want", "resize", "moving"):
    os.makedirs(d, exist_ok=True)
    for f in glob.glob(d + "/*"):
        os.remove(f)
rng = np.random.default_rng(7)


def scene(w, h, rng=rng):
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([128 + 120 * np.sin(x / 5 + y / 9), 128 + 120 * np.cos(x / 7 - y / 4), (x * 7 + y * 3) % 256], -1)
    a[: h // 3, : w // 4] = (250, 10, 20)
    a[2 * h // 3 :, w // 2 :] = (10, 30, 240)
    return (a + rng.integers(0, 12, a.shape)).clip(0, 255).astype(np.uint8)


def on_white(im):
    im = ImageOps.exif_transpose(im)
    if "A" in im.getbands() or im.info.get("transparency") is not None:
        im = Image.alpha_composite(Image.new("RGBA", im.size, (255, 255, 255, 255)), im.convert("RGBA"))
    return im.convert("RGB")


def orientation(n):
    e = Image.Exif()
    e[0x0112] = n
    return e


rgb = Image.fromarray(scene(37, 23))
alpha = rgb.convert("RGBA")
alpha.putalpha(Image.fromarray((np.add.outer(np.arange(23) * 11, np.arange(37) * 3) % 256).astype(np.uint8)))
grey = rgb.convert("L")
photo = Image.fromarray(scene(131, 99, np.random.default_rng(8)))  # HEIC pictures of less than 97 pixels are refused
pal = rgb.quantize(40)


def save(im, name, **kw):
    im.save("files/" + name, **kw)


for sub in (0, 1, 2):
    save(rgb, f"ycc{sub}.jpg", quality=88, subsampling=sub)
save(Image.fromarray(scene(48, 32)), "even.jpg", quality=75, subsampling=2)
save(Image.fromarray(scene(4, 5)), "narrow.jpg", quality=90, subsampling=2)
save(rgb, "progressive.jpg", quality=80, progressive=True)
save(rgb, "rgb.jpg", quality=90, keep_rgb=True)
save(grey, "grey.jpg", quality=90)
save(rgb.convert("CMYK"), "cmyk.jpg", quality=90)
for n in range(1, 9):
    save(rgb, f"turned{n}.jpg", quality=85, exif=orientation(n))
for n in (3, 6):
    save(rgb, f"turned{n}.png", exif=orientation(n))
    save(rgb, f"turned{n}.webp", lossless=True, exif=orientation(n))
    save(rgb, f"turned{n}.tif", exif=orientation(n), compression="tiff_lzw")
    save(photo, f"turned{n}.heic", quality=90, exif=orientation(n))
    save(rgb, f"turned{n}.avif", quality=90, exif=orientation(n))
save(rgb, "rgb.png")
save(alpha, "alpha.png")
save(grey, "grey.png")
save(alpha.convert("LA"), "greyalpha.png")
save(pal, "palette.png")
save(pal, "palettealpha.png", transparency=bytes((i * 37) % 256 for i in range(40)))
save(grey, "greykey.png", transparency=int(np.array(grey)[0, 0]))
save(rgb, "colourkey.png", transparency=tuple(int(v) for v in np.array(rgb)[0, 0]))
save(Image.fromarray(np.array(grey) > 128), "bits.png")
save(rgb, "rgb.gif")
save(pal, "transparent.gif", transparency=3)
save(rgb, "lossy.webp", quality=80)
save(Image.fromarray(scene(48, 32)), "lossyeven.webp", quality=60)
save(rgb, "lossless.webp", lossless=True)
save(alpha, "lossyalpha.webp", quality=80)
save(alpha, "losslessalpha.webp", lossless=True, exact=True)
save(rgb, "rgb.bmp")
save(pal, "palette.bmp")
save(grey, "grey.bmp")
save(Image.fromarray(np.array(grey) > 128), "bits.bmp")
save(alpha, "alpha.bmp")
for c in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
    save(rgb, c.replace("tiff_", "") + ".tif", compression=c)
save(grey, "grey.tif")
save(alpha, "alpha.tif")
save(pal, "palette.tif")
save(rgb.convert("CMYK"), "cmyk.tif")
save(Image.fromarray(np.array(grey) > 128), "bits.tif", compression="group4")
for q in (60, 100):
    save(rgb, f"q{q}.avif", quality=q, subsampling="4:2:0" if q < 100 else "4:4:4")
    save(photo, f"q{q}.heic", quality=q if q < 100 else -1, chroma=420 if q < 100 else 444)
rgb.save("narrow.heic", quality=60, chroma=420)  # which is refused
save(alpha, "alpha.avif", quality=95, subsampling="4:4:4")
scene(64, 48), scene(64, 48)  # what follows depends on how many random numbers were drawn
save(photo.convert("L"), "grey.heic", quality=90)
even = scene(128, 112, np.random.default_rng(9))
save(Image.fromarray(even), "even.heic", quality=80)
h = pillow_heif.from_bytes("RGB;16", (128, 112), (even.astype(np.uint16) * 257).astype("<u2").tobytes())
h.save("files/ten.heic", quality=90, save_nclx_profile=True)

for f in sorted(glob.glob("files/*")):
    on_white(Image.open(f)).save("want/" + os.path.basename(f) + ".png", optimize=True)

# 16 bits: the upper eight are wanted (Pillow clips greyscale)
wide = np.array(grey).astype(np.uint16) * 256 + rng.integers(0, 256, (23, 37)).astype(np.uint16)
Image.fromarray(wide).save("files/grey16.png")
Image.fromarray(wide).save("files/grey16.tif")
for n in ("grey16.png", "grey16.tif"):
    Image.fromarray((wide >> 8).astype(np.uint8)).convert("RGB").save(f"want/{n}.png", optimize=True)

# resizing
source = Image.fromarray(scene(61, 47))
source.save("resize/source.png", optimize=True)
for name, filt in (("bilinear", 2), ("bicubic", 3)):
    for w, h in ((20, 16), (61, 20), (17, 47), (90, 33), (100, 111), (1, 1), (61, 47), (7, 130)):
        source.resize((w, h), filt).save(f"resize/{name}-{w}x{h}.png", optimize=True)


# animations: a disc that moves over a ground, on part of the canvas, with every disposal
def frames(n, w, h):
    out = []
    for i in range(n):
        a = np.zeros((h, w, 4), np.uint8)
        y, x = np.mgrid[0:h, 0:w]
        a[(x - 6 - 5 * i) ** 2 + (y - 9 - i) ** 2 < 30] = (20 + 40 * i, 200, 30, 255)
        a[2:6, 3:12] = (200, 30, 40 * i, 255)
        out.append(Image.fromarray(a))
    return out


def keep_frames(name):
    im = Image.open("moving/" + name)
    times = []
    for i in range(im.n_frames):
        im.seek(i)
        im.load()
        times.append(im.info.get("duration", 0))
        on_white(im.copy()).save(f"moving/{name}.{i}.png", optimize=True)
    return times


def gif_block(x, y, w, h, pixels, delay, disposal, key):
    """An image of 2-bit codes with only clear and literal codes of 3 bits, so that no dictionary is needed."""
    codes = []
    for i, p in enumerate(pixels):
        if i % 2 == 0:
            codes.append(4)
        codes.append(p)
    codes.append(5)
    bits = 0
    for i, c in enumerate(codes):
        bits |= c << (3 * i)
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    out = b"!\xf9\x04" + bytes([disposal << 2 | (key is not None)]) + struct.pack("<HB", delay, key or 0) + b"\0"
    out += b"," + struct.pack("<HHHHB", x, y, w, h, 0) + b"\x02"
    for i in range(0, len(data), 255):
        out += bytes([len(data[i : i + 255])]) + data[i : i + 255]
    return out + b"\0"


with open("moving/disposals.gif", "wb") as f:
    f.write(b"GIF89a" + struct.pack("<HHBBB", 12, 10, 0x91, 0, 0) + bytes([255, 255, 255, 200, 0, 0, 0, 180, 0, 0, 0, 220]))
    f.write(gif_block(0, 0, 12, 10, [(i // 12 + i) % 4 for i in range(120)], 12, 1, None))
    f.write(gif_block(2, 3, 4, 4, [i % 4 for i in range(16)], 7, 3, 0))
    f.write(gif_block(5, 1, 6, 5, [1] * 30, 0, 2, 2))
    f.write(gif_block(1, 1, 3, 3, [3] * 9, 30, 1, 0))
    f.write(gif_block(8, 6, 4, 4, [2, 0] * 8, 5, 1, 0))
    f.write(b";")
times = {"disposals.gif": None}
fs = frames(5, 40, 24)
for d in (0, 2):
    fs[0].save(f"moving/pillow{d}.gif", save_all=True, append_images=fs[1:], duration=[40, 100, 250, 30, 70], disposal=d)
    times[f"pillow{d}.gif"] = keep_frames(f"pillow{d}.gif")
soft = []
for f in fs:
    a = np.array(f)
    a[..., 3] = a[..., 3] // 255 * (np.arange(40)[None] * 6 % 256).astype(np.uint8)
    soft.append(Image.fromarray(a))
for name, src, kw in (("lossless.webp", fs, {"lossless": True}), ("lossy.webp", fs, {"quality": 70}), ("soft.webp", soft, {"lossless": True, "exact": True}),
                      ("mixed.webp", soft, {"allow_mixed": True, "minimize_size": True})):
    src[0].save("moving/" + name, save_all=True, append_images=src[1:], duration=[40, 100, 250, 30, 70], **kw)
    times[name] = keep_frames(name)
# Pillow fills what a disposed frame leaves with the background colour; browsers, and ffmpeg, leave it transparent
raw = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "moving/disposals.gif", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgba", "-"],
                     check=True, capture_output=True).stdout
for i, a in enumerate(np.frombuffer(raw, np.uint8).reshape(-1, 10, 12, 4)):
    on_white(Image.fromarray(a)).save(f"moving/disposals.gif.{i}.png", optimize=True)
times["disposals.gif"] = [120, 70, 0, 300, 50]
json.dump(times, open("moving/times.json", "w"))
print(times)
