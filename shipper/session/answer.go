package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"forebay/shipper/session/header"
)

// verdict is what an answer means for the events that were sent.
type verdict int

const (
	accepted     verdict = iota // 2xx: they are the receiver's now
	failed                      // unknown outcome, or a promise of better times: send the same again
	refused                     // some 4xx: they, or some of them, will never be taken
	unauthorized                // 401, 403: nothing will be taken until an operator acts
	stale                       // 409 with a higher epoch: this cursor has been overtaken
)

// answer is what became of one request.
type answer struct {
	verdict    verdict
	err        error         // why it is not accepted
	retryAfter time.Duration // asked for by the receiver, 0 if not
	down       bool          // no connection came about: it is the endpoint, not the session
	stray      bool          // it seems that something else than a Session Manager answers
	refusal    bool          // stray, and yet a refusal if it lasts while others pass
	sized      bool          // the size of the request may be why
	by         measure       // of a refusal
	excerpt    string        // first words of a refusal; may echo events, so it goes to the dead letter only
}

const (
	maxRetryAfter   = time.Hour // longer waits are cut to this: asking once an hour harms nobody
	maxExcerptBytes = 200
)

// failure classifies a request that got no answer.
func failure(err error, timeout time.Duration) answer {
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer from the Session Manager within %s: %w", timeout, err)
	}
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	down := errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) ||
		errors.As(err, &cert) || errors.As(err, &record)
	return answer{verdict: failed, err: err, down: down, sized: !down}
}

// classify reads an answer. Of the 4xx those are about the events that say so;
// the others, 404 first of all, are what stands at the address while the Session
// Manager is being replaced, or when the address is wrong.
func classify(res *http.Response, epoch uint64, text []byte, cut error) answer {
	said := fmt.Errorf("the Session Manager answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		if cut != nil {
			return answer{verdict: failed, sized: true, err: fmt.Errorf("%w, and ended before the end of its body: %w", said, cut)}
		}
		if foreign(res.Header.Get("Content-Type"), text) {
			return answer{verdict: failed, stray: true, sized: true, err: fmt.Errorf("%w with a page of HTML or XML, "+
				"so something else than a Session Manager answers: see what stands at shippers.session.url, a proxy or a login page", said)}
		}
		return answer{verdict: accepted}
	case code >= 300 && code < 400:
		return answer{verdict: failed, err: fmt.Errorf("%w: redirects are not followed, set shippers.session.url to the final address", said)}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return answer{verdict: unauthorized, err: said}
	case code == http.StatusConflict:
		if seen, err := strconv.ParseUint(res.Header.Get(header.Epoch), 10, 64); err == nil && seen > epoch {
			return answer{verdict: stale, err: fmt.Errorf("%w: it has seen epoch %d, this cursor is at %d", said, seen, epoch)}
		}
		return answer{verdict: refused, err: said, excerpt: excerpt(text)}
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return answer{verdict: failed, err: said, retryAfter: parseRetryAfter(res.Header.Get("Retry-After"), time.Now())}
	case code == http.StatusTooEarly || code == http.StatusProxyAuthRequired:
		return answer{verdict: failed, err: said}
	case code == http.StatusRequestTimeout:
		return answer{verdict: failed, err: said, sized: true}
	case code == http.StatusRequestEntityTooLarge:
		return answer{verdict: refused, err: said, excerpt: excerpt(text), by: bytesAlone}
	case code == http.StatusRequestHeaderFieldsTooLarge:
		return answer{verdict: refused, err: said, excerpt: excerpt(text), by: eventsAlone}
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		return answer{verdict: refused, err: said, excerpt: excerpt(text)}
	case code >= 400 && code < 500:
		return answer{verdict: failed, err: fmt.Errorf("%w: see whether shippers.session.url is right and the Session Manager stands behind it", said),
			stray: true, refusal: true, sized: true, excerpt: excerpt(text)}
	default:
		return answer{verdict: failed, err: said, sized: true}
	}
}

// foreign tells whether the body of a success is plainly none of a Session
// Manager's: a page, as proxies and logins serve them. Whatever else it says,
// or nothing, is good enough, since a receiver may be simple.
func foreign(contentType string, text []byte) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	if kind == "text/html" || kind == "application/xhtml+xml" {
		return true
	}
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(text) > 0 && text[0] == '<'
}

// parseRetryAfter reads both forms of Retry-After, seconds and a date. What
// cannot be read, or lies in the past, is 0.
func parseRetryAfter(s string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// excerpt is the beginning of a text in one printable line.
func excerpt(text []byte) string {
	if len(text) > maxExcerptBytes {
		text = text[:maxExcerptBytes]
	}
	line := strings.Join(strings.FieldsFunc(string(text), func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == utf8.RuneError
	}), " ")
	return line
}

// appendJSON writes s as a JSON string.
func appendJSON(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always can be
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
