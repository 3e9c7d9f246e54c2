package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/hub/hubtest"
)

func tinyLayers(seed uint64) []hubtest.Layer {
	return []hubtest.Layer{
		{Kind: "model", Data: hubtest.GGUF(200_000, seed)},
		{Kind: "projector", Data: hubtest.GGUF(30_000, seed+100)},
		{Kind: "template", Data: []byte("{{ .Prompt }}")},
		{Kind: "license", Data: []byte("\nGemma Terms of Use \n\nLast modified: …\n")},
		{Kind: "license", Data: []byte("Prohibited uses\n")},
		{Kind: "params", Data: []byte(`{"stop":["<end_of_turn>"]}`)},
		{Kind: "unheard-of", Data: []byte("?")},
	}
}

func TestOllamaPull(t *testing.T) {
	s := testStore(t)
	o := testOllama(t)
	layers := tinyLayers(1)
	o.Put("library/tiny", "270m", layers)
	o.Files.Cut(1<<20, 100_000) // the manifest whole, the model in two
	l := mustPull(t, s, "ollama:tiny:270m", nil)
	mustHold(t, l.Path, layers[0].Data)
	mustHold(t, l.Projector, layers[1].Data)
	if l.SHA256() != hubtest.SHA256(layers[0].Data) || filepath.Ext(l.Path) != ".gguf" {
		t.Errorf("%s %s", l.Path, l.SHA256())
	}
	if l.Licence.Name != "Gemma Terms of Use" || l.Licence.URL != gemmaTerms || len(l.Licence.Files) != 3 {
		t.Errorf("licence %+v", l.Licence)
	}
	for name, data := range map[string][]byte{"LICENSE": layers[3].Data, "LICENSE-2": layers[4].Data, "template.gotmpl": layers[2].Data, "params.json": layers[5].Data} {
		mustHold(t, filepath.Join(l.Dir, name), data)
	}
	if n := o.Files.Sent(o.BlobPath("library/tiny", layers[0].Data)); n != 200_000 {
		t.Errorf("%d bytes of the model sent", n)
	}
	o.Put("me/own", "latest", layers)
	if l := mustPull(t, s, "ollama:me/own", nil); l.Name != "ollama:me/own:latest" {
		t.Errorf("name %s", l.Name)
	}
}

func TestOllamaStoreIsUsed(t *testing.T) {
	s := testStore(t)
	o := testOllama(t)
	layers := tinyLayers(2)
	host := strings.ReplaceAll(strings.TrimPrefix(o.URL, "http://"), ":", "_")
	if err := hubtest.Install(os.Getenv("OLLAMA_MODELS"), host, "library/tiny", "latest", layers); err != nil {
		t.Fatal(err)
	}
	in, err := s.Resolve(t.Context(), "ollama:tiny")
	if err != nil || !strings.HasPrefix(in.Path, os.Getenv("OLLAMA_MODELS")) || in.Licence.Name != "Gemma Terms of Use" {
		t.Fatalf("resolve in place: %+v %v", in, err)
	}
	_, err = s.Remove(t.Context(), "ollama:tiny")
	mustFail(t, err, nil, "belongs to another program")
	var r recorder
	l := mustPull(t, s, "ollama:tiny", &r)
	mustHold(t, l.Path, layers[0].Data)
	if len(o.Files.Requests()) != 0 || !r.noted("Ollama's own store") {
		t.Errorf("requests %v, notes %q", o.Files.Requests(), r.notes)
	}
	a, err := os.Stat(in.Path)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.Stat(l.Path); err != nil || links(b) != 1 && !os.SameFile(a, b) {
		t.Errorf("%v: neither a clone nor a link of Ollama's file", err)
	}
	// Refresh goes to the registry, whose model is newer.
	newer := tinyLayers(3)
	o.Put("library/tiny", "latest", newer)
	l, err = s.Refresh(t.Context(), "ollama:tiny", nil)
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, l.Path, newer[0].Data)
	mustHold(t, in.Path, layers[0].Data)
}

// A damaged blob in Ollama's store is not taken for the model.
func TestOllamaStoreIsChecked(t *testing.T) {
	s := testStore(t)
	o := testOllama(t)
	layers := tinyLayers(4)
	o.Put("library/tiny", "latest", layers)
	host := strings.ReplaceAll(strings.TrimPrefix(o.URL, "http://"), ":", "_")
	if err := hubtest.Install(os.Getenv("OLLAMA_MODELS"), host, "library/tiny", "latest", layers); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(os.Getenv("OLLAMA_MODELS"), "blobs", "sha256-"+hubtest.SHA256(layers[0].Data))
	if err := os.WriteFile(blob, hubtest.GGUF(200_000, 5), 0o644); err != nil {
		t.Fatal(err)
	}
	mustHold(t, mustPull(t, s, "ollama:tiny", nil).Path, layers[0].Data)
}

func TestOllamaFailures(t *testing.T) {
	s := testStore(t)
	o := testOllama(t)
	_, err := s.Pull(t.Context(), "ollama:none", nil)
	mustFail(t, err, ErrUnknown, "no ollama:none:latest")

	damaged := tinyLayers(6)
	o.Put("library/damaged", "latest", damaged)
	o.Files.Put(o.BlobPath("library/damaged", damaged[0].Data), hubtest.GGUF(200_000, 7))
	_, err = s.Pull(t.Context(), "ollama:damaged", nil)
	mustFail(t, err, ErrChecksum, "nothing was kept")

	for what, manifest := range map[string]string{
		"no honest registry": `{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:../../../../etc/passwd","size":1}]}`,
		"size -5":            `{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:` + strings.Repeat("a", 64) + `","size":-5}]}`,
		"no GGUF layer":      `{"layers":[]}`,
		"not JSON":           `<html>`,
	} {
		o.Files.Put("/v2/library/evil/manifests/latest", []byte(manifest))
		_, err := s.Pull(t.Context(), "ollama:evil", nil)
		mustFail(t, err, nil, what)
	}
	for _, name := range []string{"ollama:", "ollama:../x", "ollama:a/b/c", "ollama:a:../x", "ollama:a:b:c"} {
		_, err := s.Pull(t.Context(), name, nil)
		mustFail(t, err, nil, "no Ollama source")
	}
	if left := tree(s.Root()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	private := hubtest.Status(401)
	defer private.Close()
	t.Setenv("LAPIDARY_OLLAMA_REGISTRY", private.URL)
	_, err = s.Pull(t.Context(), "ollama:me/private", nil)
	mustFail(t, err, ErrGated, "not public")
}
