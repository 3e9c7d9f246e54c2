// Package picture turns the picture files people have into the arrays that the vision parts of Gemma models take.
//
// [Decode] reads JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF and HEIC into an [Image]: 8-bit RGB, upright, opaque. [Config.Features]
// resizes an Image, scales its values and lays them out as a family's image processor does; [ReadConfig] takes the settings from
// the JSON files of a checkpoint, [Defaults] knows them where there are none. [OpenAnimation] shows the frames of moving GIF and
// WebP files.
//
// # Concepts
//
// The reference is what transformers does with a picture that Pillow opened, since that is what the models were tuned with: a
// picture is turned as its EXIF orientation says, transparency is laid over white, and resizing is Pillow's, bit for bit (two
// passes in 8-bit fixed point, a kernel that widens when it shrinks). JPEG chroma is interpolated as libjpeg does ("fancy
// upsampling") and WebP's as libwebp does.
//
// Sizes are read from a file's header and compared with [Limits] before anything is decoded.
//
// # Caveats
//
// Colour profiles are ignored, as in the reference. Samples of more than 8 bits keep their upper 8 (Pillow clips 16-bit
// greyscale instead, which turns all but the darkest 256 of its 65536 levels white). CMYK is converted without a profile. BMP with
// run-length or 16-bit samples, TIFF with JPEG inside, BigTIFF, and arithmetic-coded or 12-bit JPEG are refused. JPEG samples
// differ from libjpeg's by at most 2, since the inverse transforms round differently; PNG, GIF, BMP, TIFF and WebP are exact.
//
// AVIF and HEIC with halved chroma (most of them) have chroma repeated, not interpolated; libheif as compiled here has also
// blurred it by a pixel and mixes the chroma of the uppermost two rows. Luma is exact; over six photographs the mean difference
// from Pillow was at most 0.7 of 255. Of a HEIC file's alpha plane nothing is
// seen unless its colours are stored as RGB.
//
// AVIF and HEIC are decoded by libavif/dav1d and libheif/libde265 compiled to WebAssembly, which github.com/gen2brain/avif and
// github.com/gen2brain/heic run in wazero: the modules are under the MIT licence, libavif and dav1d under the BSD 2-clause licence,
// libheif and libde265 under the LGPL 3. (The heic module from v0.6.0 on holds a decoder under the AGPL 3 instead, and v0.5.0
// panics on ordinary files.) The sandbox has no limit on memory but WebAssembly's own 4 GiB, and a run in it cannot be broken off.
// HEIC pictures less than 97 pixels wide are refused, since the module mixes up their rows, and of others the
// first 24 samples are taken from the second row, since the module loses them. A build without the tag nodynamic links
// to the system's dynamic loader, and refuses AVIF where it finds a libavif of the system's. Everything is safe for concurrent use.
//
// Sources: TIFF 6.0 and EXIF 2.32 (orientation), GIF89a, the WebP container specification, ISO/IEC 14496-12 and 23008-12
// (AVIF, HEIC), ITU-T T.871 (JFIF), RFC 6386 (VP8), Pillow's documentation of its filters.
package picture
