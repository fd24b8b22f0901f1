package session

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"
)

// Options configure a Sink. Only URL is needed; zero fields take the default
// that is named.
type Options struct {
	URL       string // base URL; requests go to URL/v1/sessions/events
	TokenFile string // file with a bearer token, read again when it changes; "" sends none
	CAFile    string // PEM certificates to trust instead of the system's; "" is the system's
	Gzip      bool   // compress request bodies

	Lanes         int           // requests in flight at once, each for another session; default 32
	RequestEvents int           // events in one request at most; default 100
	RequestBytes  int           // raw event bytes in one request at most, save one larger event alone; default 512 KiB
	Timeout       time.Duration // of one request, answer included; default 30 s

	// MaxParked bounds how many sessions may be failing at once, MaxHeldBytes
	// the memory of events taken from the log and not delivered. At either
	// bound no more is read until there is room; nothing is dropped. The
	// defaults are 10,000 and 64 MiB. One batch of the feed may go over.
	MaxParked    int
	MaxHeldBytes int64

	// ParkedMaxAge is how long a session may fail, while others do not,
	// before its events are queued in the dead letters; 0 is for ever. Time in
	// which the whole endpoint was down does not count.
	ParkedMaxAge time.Duration

	// Patience is how long answers are tried again that concern the endpoint
	// and not an event, such as a 404, while other sessions are taken; then
	// they count as a refusal. Default 1 min.
	Patience time.Duration

	// Beside has events delivered as of a log of its own, whose identity
	// follows from the log's and the cursor's epoch, so that receivers keep
	// marks of their own for them. It is for a delivery beside the live one.
	Beside bool

	Logger *slog.Logger // default: discard
}

// maxMarks bounds the sessions whose events above the position have been
// delivered; each costs some 100 bytes of memory and a key in the state.
const maxMarks = 1 << 18

// withDefaults fills zero fields and checks the rest.
func (o Options) withDefaults() (Options, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return o, fmt.Errorf("session: url: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return o, fmt.Errorf("session: url %q: want http://host or https://host", u.Redacted())
	case u.User != nil:
		return o, errors.New("session: url holds a user or password: put a bearer token in the token file")
	case u.RawQuery != "" || u.Fragment != "":
		return o, fmt.Errorf("session: url %q: want no query and no fragment", o.URL)
	}
	if o.Lanes < 0 || o.RequestEvents < 0 || o.RequestBytes < 0 || o.Timeout < 0 ||
		o.MaxParked < 0 || o.MaxHeldBytes < 0 || o.ParkedMaxAge < 0 || o.Patience < 0 {
		return o, errors.New("session: limits and times cannot be negative")
	}
	setDefault(&o.Lanes, 32)
	setDefault(&o.RequestEvents, 100)
	setDefault(&o.RequestBytes, 512<<10)
	setDefault(&o.Timeout, 30*time.Second)
	setDefault(&o.MaxParked, 10_000)
	setDefault(&o.Patience, time.Minute)
	setDefault(&o.MaxHeldBytes, 64<<20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
