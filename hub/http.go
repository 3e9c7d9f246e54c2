package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// retry says how patiently a broken transfer is taken up again. A transfer
// that gets further each time is never given up.
type retry struct {
	first time.Duration // before the second try; doubles with each
	tries int           // in a row without a byte of progress
	idle  time.Duration // silence after which a connection counts as dead
}

var defaultRetry = retry{first: 500 * time.Millisecond, tries: 5, idle: 60 * time.Second}

const longestWait = 30 * time.Second

func newClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 60 * time.Second
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}
}

// checkRedirect keeps a transfer from being led to plain HTTP, and a token
// from being handed to another host (file servers behind a hub are others).
func checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	switch {
	case len(via) > 10:
		return &permanent{errors.New("more than 10 redirects")}
	case last.Scheme == "https" && req.URL.Scheme != "https":
		return &permanent{fmt.Errorf("%s redirects to plain http; refused", last.Host)}
	}
	if req.URL.Host != via[0].URL.Host {
		req.Header.Del("Authorization")
	}
	return nil
}

// permanent marks a failure that trying again will not mend.
type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// statusError is an answer other than the one hoped for.
type statusError struct {
	code   int
	status string
	where  string // the address, without what may be secret in it
	after  time.Duration
}

func (e *statusError) Error() string { return fmt.Sprintf("%s answers %s", e.where, e.status) }

func (e *statusError) transient() bool {
	return e.code == http.StatusRequestTimeout || e.code == http.StatusTooEarly || e.code == http.StatusTooManyRequests || e.code >= 500
}

func newStatusError(resp *http.Response) *statusError {
	e := &statusError{code: resp.StatusCode, status: resp.Status, where: redact(resp.Request.URL)}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.after = min(time.Duration(s)*time.Second, longestWait)
	}
	return e
}

// redact drops the parts of an address that signed links and passwords are in.
func redact(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// plainURLError takes the address out of net/http's errors, for the same reason.
func plainURLError(err error) error {
	var ue *url.Error
	if !errors.As(err, &ue) {
		return err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return &unreachable{fmt.Errorf("no such host %s", dns.Name)}
	}
	var op *net.OpError
	u, perr := url.Parse(ue.URL)
	switch {
	case perr != nil:
		return ue.Err
	case errors.As(err, &op) && op.Op == "dial":
		return &unreachable{fmt.Errorf("%s cannot be reached: %w", u.Host, op.Err)}
	}
	return fmt.Errorf("%s: %w", u.Host, ue.Err)
}

// unreachable marks failures that lie between here and the server.
type unreachable struct{ error }

func (u *unreachable) Unwrap() error { return u.error }

// checkURL takes https, and plain http only from this very machine or where
// the user asked for it.
func checkURL(raw string, plainAllowed bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no web address", raw)
	}
	if u.Scheme == "https" || u.Scheme == "http" && (plainAllowed || loopback(u.Hostname())) {
		return u, nil
	}
	return nil, fmt.Errorf("%s: models are fetched over https only", redact(u))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// web fetches a file over HTTP and goes on with a range request where an
// earlier transfer stopped.
type web struct {
	store  *Store
	url    string
	header http.Header
	// pinned says that a promised checksum will tell whether the bytes of an
	// earlier transfer belong to the same file; otherwise the server is asked.
	pinned bool
	note   func(string)
}

func (w web) String() string {
	if u, err := url.Parse(w.url); err == nil {
		return redact(u)
	}
	return w.url
}

func (w web) fetch(ctx context.Context, p *partial) error {
	return w.store.again(ctx, w.note, func() (progress int64, err error) {
		before := p.size
		err = w.once(ctx, p)
		return p.size - before, err
	})
}

// again repeats try while its failures are passing ones.
func (s *Store) again(ctx context.Context, note func(string), try func() (progress int64, err error)) error {
	wait, idle := s.retry.first, 0
	for {
		n, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if idle++; n > 0 {
			wait, idle = s.retry.first, 0
		}
		if !transient(err) || idle >= s.retry.tries {
			return plainURLError(err)
		}
		pause := wait + rand.N(wait/2+1)
		var st *statusError
		if errors.As(err, &st) && st.after > pause {
			pause = st.after
		}
		note(fmt.Sprintf("%v; trying again in %v", plainURLError(err), pause.Round(100*time.Millisecond)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		wait = min(2*wait, longestWait)
	}
}

// transient tells failures of the network and the server from those of the
// disk and of the request itself.
func transient(err error) bool {
	var st *statusError
	var fatal *permanent
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &fatal), errors.As(err, &cert), errors.As(err, &noTLS):
		return false
	case errors.As(err, &st):
		return st.transient()
	case errors.As(err, &dns):
		return !dns.IsNotFound
	}
	return true
}

var errIdle = errors.New("the server fell silent")

// once is one request, taking what it brings into p.
func (w web) once(ctx context.Context, p *partial) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := w.request(ctx, p)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	whole, err := w.place(resp, p)
	if err != nil {
		return err
	}
	if p.want >= 0 && p.size == p.want {
		return nil
	}
	if whole >= 0 {
		if err := p.expect(whole); err != nil {
			return &permanent{err}
		}
	}
	body := &watched{resp.Body, time.AfterFunc(w.store.retry.idle, func() { cancel(errIdle) }), w.store.retry.idle}
	defer body.timer.Stop()
	limit := int64(1 << 62)
	if p.want >= 0 {
		limit = p.want - p.size + 1 // one more shows a body that is too long
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{p}, io.LimitReader(body, limit), make([]byte, 1<<20))
	if errors.Is(context.Cause(ctx), errIdle) {
		return errIdle
	}
	if err == nil && p.want >= 0 && p.size < p.want {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (w web) request(ctx context.Context, p *partial) (*http.Response, error) {
	if p.size > 0 && !w.pinned && p.state.Validator == "" {
		if err := p.truncate(0); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return nil, &permanent{err}
	}
	for k, v := range w.header {
		req.Header[k] = v
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", userAgent)
	if p.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
		if !w.pinned {
			req.Header.Set("If-Range", p.state.Validator)
		}
	}
	return w.store.client.Do(req)
}

const userAgent = "lapidary (Go)"

// place sets p to where the answer's body begins, and returns the size of the
// whole file, -1 when the server does not say.
func (w web) place(resp *http.Response, p *partial) (whole int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		if p.size > 0 {
			err = p.truncate(0)
		}
		whole = resp.ContentLength
	case http.StatusPartialContent:
		var start int64
		start, whole, err = contentRange(resp.Header.Get("Content-Range"))
		if err == nil && start != p.size {
			err = &permanent{fmt.Errorf("%s sent bytes from %d where those from %d were asked for", redact(resp.Request.URL), start, p.size)}
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if _, whole, err = contentRange(resp.Header.Get("Content-Range")); err == nil && whole == p.size && (p.want < 0 || p.want == whole) {
			p.want = whole
			return whole, nil
		}
		if err = p.truncate(0); err == nil {
			err = io.ErrUnexpectedEOF // what is here is longer than the file: begin again
		}
	default:
		return -1, newStatusError(resp)
	}
	if err != nil {
		return -1, err
	}
	return whole, w.remember(resp, p)
}

// remember stores what If-Range needs: a strong entity tag, else the date.
func (w web) remember(resp *http.Response, p *partial) error {
	v := resp.Header.Get("ETag")
	if v == "" || strings.HasPrefix(v, "W/") {
		v = resp.Header.Get("Last-Modified")
	}
	if v == p.state.Validator {
		return nil
	}
	p.state.Validator = v
	return p.save()
}

// contentRange reads "bytes 5-9/10" and "bytes */10" (RFC 9110, 14.4).
func contentRange(h string) (start, whole int64, err error) {
	bad := &permanent{fmt.Errorf("Content-Range %q makes no sense", h)}
	rest, ok := strings.CutPrefix(h, "bytes ")
	span, size, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return 0, -1, bad
	}
	whole = -1
	if size != "*" {
		if whole, err = strconv.ParseInt(size, 10, 64); err != nil || whole < 0 {
			return 0, -1, bad
		}
	}
	if span == "*" {
		return 0, whole, nil
	}
	first, _, _ := strings.Cut(span, "-")
	if start, err = strconv.ParseInt(first, 10, 64); err != nil || start < 0 {
		return 0, -1, bad
	}
	return start, whole, nil
}

// watched postpones a timer with every read that brings something.
type watched struct {
	r     io.Reader
	timer *time.Timer
	idle  time.Duration
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.timer.Reset(w.idle)
	}
	return n, err
}

// small fetches a short document, such as an API's answer.
func (s *Store) small(ctx context.Context, url string, header http.Header, note func(string)) (body []byte, h http.Header, err error) {
	err = s.again(ctx, note, func() (int64, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, &permanent{err}
		}
		for k, v := range header {
			req.Header[k] = v
		}
		req.Header.Set("User-Agent", userAgent)
		resp, err := s.client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		h = resp.Header
		if resp.StatusCode != http.StatusOK {
			return 0, newStatusError(resp)
		}
		const limit = 16 << 20
		body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
		if err == nil && len(body) > limit {
			err = &permanent{fmt.Errorf("%s: an answer of over %d bytes", redact(resp.Request.URL), limit)}
		}
		return 0, err
	})
	return body, h, err
}

func asStatus(err error) (*statusError, bool) {
	var st *statusError
	return st, errors.As(err, &st)
}
