package hub

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/hub/hubtest"
)

func fileServer(t *testing.T) (*hubtest.Files, string) {
	t.Helper()
	f := hubtest.NewFiles()
	srv := httptest.NewServer(f)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return f, srv.URL
}

func TestURLPull(t *testing.T) {
	s := testStore(t)
	f, base := fileServer(t)
	data := hubtest.GGUF(300_000, 1)
	f.Put("/models/tiny.gguf", data)
	var r recorder
	l := mustPull(t, s, base+"/models/tiny.gguf", &r)
	mustHold(t, l.Path, data)
	if filepath.Base(l.Path) != "tiny.gguf" || l.SHA256() != hubtest.SHA256(data) || r.last != 300_000 {
		t.Errorf("path %s, sum %s, progress up to %d", l.Path, l.SHA256(), r.last)
	}
	if len(l.Licence.Files) != 1 || !exists(filepath.Join(l.Dir, l.Licence.Files[0])) {
		t.Errorf("no licence note beside the model: %v", l.Licence)
	}
	again, err := s.Resolve(t.Context(), base+"/models/tiny.gguf")
	if err != nil || again.Path != l.Path {
		t.Errorf("resolve: %v %v", again, err)
	}
	mustPull(t, s, base+"/models/tiny.gguf", nil)
	if n := len(f.Requests()); n != 1 {
		t.Errorf("%d requests for two pulls", n)
	}
}

func TestURLResumesCutTransfers(t *testing.T) {
	for name, prepare := range map[string]func(*hubtest.Files){
		"ranges":    func(*hubtest.Files) {},
		"no ranges": func(f *hubtest.Files) { f.NoRange = true },
		"no tags":   func(f *hubtest.Files) { f.NoTag = true },
	} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t)
			f, base := fileServer(t)
			prepare(f)
			data := hubtest.GGUF(500_000, 2)
			f.Put("/m.gguf", data)
			f.Cut(200_000, 200_000)
			l := mustPull(t, s, base+"/m.gguf", nil)
			mustHold(t, l.Path, data)
			reqs := f.Requests()
			if len(reqs) != 3 {
				t.Fatalf("%d requests: %v", len(reqs), reqs)
			}
			if name == "ranges" && (reqs[2].Range != "bytes=400000-" || f.Sent("/m.gguf") != 500_000) {
				t.Errorf("%d bytes sent; requests %v", f.Sent("/m.gguf"), reqs)
			}
			if name == "no tags" && reqs[1].Range != "" {
				t.Errorf("a range without a way to know that it is of the same file: %v", reqs[1])
			}
		})
	}
}

func TestURLResumeNoticesAnotherFile(t *testing.T) {
	s := testStore(t)
	f, base := fileServer(t)
	f.Put("/m.gguf", hubtest.GGUF(500_000, 3))
	f.Cut(200_000, 0, 0, 0)
	if _, err := s.Pull(t.Context(), base+"/m.gguf", nil); err == nil {
		t.Fatal("the server never sends all, and the pull succeeded")
	}
	newer := hubtest.GGUF(400_000, 4)
	f.Put("/m.gguf", newer)
	mustHold(t, mustPull(t, s, base+"/m.gguf", nil).Path, newer)
}

func TestURLTransientStatus(t *testing.T) {
	s := testStore(t)
	f, base := fileServer(t)
	data := hubtest.GGUF(1000, 5)
	f.Put("/m.gguf", data)
	f.Fail(http.StatusServiceUnavailable, http.StatusTooManyRequests)
	var r recorder
	mustHold(t, mustPull(t, s, base+"/m.gguf", &r).Path, data)
	if !r.noted("trying again") {
		t.Errorf("notes %q do not say that it was tried again", r.notes)
	}
}

func TestURLFailures(t *testing.T) {
	s := testStore(t)
	f, base := fileServer(t)
	f.Put("/page.gguf", []byte("<!DOCTYPE html><title>Sign in</title>"))
	f.Put("/m.gguf", hubtest.GGUF(5000, 6))
	wrong := strings.Repeat("0", 64)
	for _, c := range []struct {
		name  string
		kind  error
		words []string
	}{
		{base + "/none.gguf", nil, []string{"404"}},
		{base + "/page.gguf", nil, []string{"no model", "browser"}},
		{base + "/m.gguf#sha256=" + wrong, ErrChecksum, []string{wrong, "nothing was kept"}},
		{base + "/m.gguf#md5=1", nil, []string{"sha256="}},
		{"http://models.example/m.gguf", nil, []string{"https only"}},
		{"https:///m.gguf", nil, []string{"no web address"}},
	} {
		_, err := s.Pull(t.Context(), c.name, nil)
		mustFail(t, err, c.kind, c.words...)
	}
	if left := tree(s.Root()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	l := mustPull(t, s, base+"/m.gguf#sha256="+hubtest.SHA256(hubtest.GGUF(5000, 6)), nil)
	mustHold(t, l.Path, hubtest.GGUF(5000, 6))
}

func TestURLDamagedRestIsStartedAgain(t *testing.T) {
	s := testStore(t)
	f, base := fileServer(t)
	data := hubtest.GGUF(500_000, 7)
	name := base + "/m.gguf#sha256=" + hubtest.SHA256(data)
	f.Put("/m.gguf", hubtest.GGUF(500_000, 8)) // what an earlier pull got
	f.Cut(200_000, 0, 0, 0)
	if _, err := s.Pull(t.Context(), name, nil); err == nil {
		t.Fatal("no error")
	}
	f.Put("/m.gguf", data)
	var r recorder
	mustHold(t, mustPull(t, s, name, &r).Path, data)
	if !r.noted("damaged") {
		t.Errorf("notes: %q", r.notes)
	}
}

func TestURLCancelLeavesTheRestForLater(t *testing.T) {
	s := testStore(t)
	f, base := fileServer(t)
	data := hubtest.GGUF(500_000, 9)
	f.Put("/m.gguf", data)
	release := f.Hold(300_000)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := s.Pull(ctx, base+"/m.gguf", nil)
		done <- err
	}()
	eventually(t, "300,000 bytes", func() bool { return f.Sent("/m.gguf") >= 300_000 && partialSize(s) >= 250_000 })
	cancel()
	mustFail(t, <-done, context.Canceled, "stopped", "next pull")
	release()
	mustHold(t, mustPull(t, s, base+"/m.gguf", nil).Path, data)
	if n := f.Sent("/m.gguf"); n > 600_000 {
		t.Errorf("%d bytes sent for a file of 500,000", n)
	}
}

// partialSize is the bytes in the store's only unfinished file.
func partialSize(s *Store) int64 {
	found, _ := filepath.Glob(filepath.Join(s.Root(), "models", "*", ".*.partial", "*.partial"))
	if len(found) != 1 {
		return 0
	}
	return diskSize(found[0])
}

func TestRedirects(t *testing.T) {
	s := testStore(t)
	plain := httptest.NewServer(hubtest.NewFiles())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/m.gguf", http.StatusFound)
	}))
	defer secure.Close()
	s.client.Transport = secure.Client().Transport
	_, err := s.Pull(t.Context(), secure.URL+"/m.gguf", nil)
	mustFail(t, err, nil, "plain http", "refused")
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	}))
	defer loop.Close()
	_, err = s.Pull(t.Context(), loop.URL+"/m.gguf", nil)
	mustFail(t, err, nil, "redirects")
}

func TestUnreachableServers(t *testing.T) {
	s := testStore(t)
	gone := httptest.NewServer(hubtest.NewFiles())
	gone.Close()
	_, err := s.Pull(t.Context(), gone.URL+"/m.gguf", nil)
	mustFail(t, err, nil, "cannot be reached", "refused", "HTTPS_PROXY")
	// The name is reserved for names that do not exist (RFC 2606).
	_, err = s.Pull(t.Context(), "https://models.invalid/m.gguf?key=secret", nil)
	mustFail(t, err, nil, "models.invalid", "HTTPS_PROXY")
	if strings.Contains(strings.ReplaceAll(err.Error(), "pull https://models.invalid/m.gguf?key=secret", ""), "secret") {
		t.Errorf("%v: repeats what may be a secret", err)
	}
}
