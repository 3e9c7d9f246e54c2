// Package video takes frames and sound out of videos.
//
// [Frames] yields frames spread evenly over a video, with their times, as the video processors of Gemma 4 and EmbeddingGemma 2 choose them;
// [SoundTrack] gives the sound in one channel at a wanted rate.
//
// Moving GIF and WebP files are read by package picture. Everything else is the work of the program ffmpeg, which has to be
// installed (any version since 4): it is started as a child, told to open nothing but the file, and read through a pipe, so that
// no files are left behind. Cancelling the context, or leaving the loop over frames, kills it.
//
// # Caveats
//
// A video is read twice: its packets first, undecoded, to count the frames and learn their times, then its pictures up to the last
// one wanted. Where frames are wanted that lie far apart, MP4 and Matroska files are entered at each of them instead. Colours are
// converted to RGB by ffmpeg, turned pictures are shown upright.
//
// Sources: ffmpeg's documentation of its framecrc, image2pipe and f32le muxers and of its select filter; the sampling rules are those of
// transformers' default_sample_indices_fn and of its EmbeddingGemma 2 video processor.
package video
