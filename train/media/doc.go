// Package media makes training examples of pictures and sounds: tokens with the
// places where a model's soft tokens go, what its towers take for those places,
// and which tokens are to be learnt.
//
// # Data
//
// A data file has a JSON object a line ([Read]):
//
//	{"image": "train.zip/000001.png", "prompt": "how many circles are there?", "answer": "3"}
//	{"audio": "7_theo_0.wav", "answer": "7"}
//
// Paths are relative to the file's folder. What lies in a zip archive is named
// like a file in a folder of the archive's name.
//
// # Examples
//
// A [Loader] decodes what an example names, once, and lays it out as package
// lapidary does for a prompt: the medium, then the prompt, then a space, the
// answer and the token that ends a text. So a trained model answers
// lapidary.Model.PromptText. Loss is on the answer and on that last token.
//
// # Sounds that vary
//
// Few recordings of few speakers teach a model those speakers. [Augment] makes of
// each recording another one at each step: another speed and with it another
// pitch and a throat of another length (resampling, as in Jaitly and Hinton 2013
// and Ko et al. 2015), another room (a smooth gain over frequency), another
// loudness, noise, and gaps in time and frequency (Park et al. 2019,
// arXiv:1904.08779). What is drawn depends on seed, step and place in the batch
// alone: a run that is resumed hears what it would have heard.
package media
