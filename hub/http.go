package hub

import (
	"net/http"
	"time"
)

type retry struct{ first time.Duration }

var defaultRetry = retry{500 * time.Millisecond}

func newClient() *http.Client { return &http.Client{} }
