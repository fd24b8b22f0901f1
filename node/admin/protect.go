package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"time"

	"forebay/router/ratelimit"
)

// Bounds of what one address may ask, far above what a console, a command and
// a scraper together need. Calls within the process have no address, and a
// Unix socket's peers are the operator's own user: neither is bounded.
const (
	requestsPerSecond = 200
	requestBurst      = 1000
	limitedAddresses  = 1024 // that are told apart
	maxInFlight       = 128  // requests at a time, streams included
)

// pagePolicy lets the console load what this listener serves and nothing
// else: no script or style within the page, no other host, no frame around it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// protect bounds requests and tells browsers what they may do with answers.
func protect(next http.Handler) http.Handler {
	limiter := ratelimit.New(ratelimit.Options{
		RequestsPerSecond: requestsPerSecond, Burst: requestBurst, MaxAddresses: limitedAddresses, MaxKeys: 1,
	})
	inFlight := make(chan struct{}, maxInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" { // cheap, and a probe that is refused takes the node out of service
			next.ServeHTTP(w, r)
			return
		}
		if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			if ok, wait := limiter.AllowAddr(peer.Addr()); !ok {
				later(w, wait, fmt.Sprintf("more than %d requests a second from one address", requestsPerSecond))
				return
			}
		}
		select {
		case inFlight <- struct{}{}:
			defer func() { <-inFlight }()
		default:
			later(w, time.Second, fmt.Sprintf("%d requests are under way already", maxInFlight))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// later refuses a request that may be asked again.
func later(w http.ResponseWriter, wait time.Duration, why string) {
	w.Header().Set("Retry-After", fmt.Sprint(max(1, math.Ceil(wait.Seconds()))))
	reply(w, http.StatusTooManyRequests, Problem{Error: why + ": ask again later"})
}

// sameToken compares in a time that tells nothing, not even the length.
func sameToken(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// fromElsewhere says that a browser sends the request for a page of another
// origin, whatever Origin says: browsers set this header themselves.
func fromElsewhere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}
