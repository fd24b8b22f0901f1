package router

import (
	"fmt"
	"net/netip"
	"sync"

	"forebay/router/event"
	"forebay/router/privacy"
)

// Settings are what can change while a router runs. A zero field takes its
// default. A request is judged by the settings that held when it came.
type Settings struct {
	Limits    event.Limits // of a decoded body; see event.DefaultLimits
	WireBytes int          // bytes of a body as sent, up to 64 MiB; default 2 MiB. More ends the connection.

	// Privacy judges the keys and strings of events. Default: every detector
	// drops.
	Privacy *privacy.Checker

	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
}

// settings are Settings in use, with the decoders that are made for them.
type settings struct {
	Settings
	decoders sync.Pool // of *event.Decoder
}

// newSettings fills in the defaults and checks the rest.
func newSettings(s Settings) (_ *settings, err error) {
	if s.WireBytes == 0 {
		s.WireBytes = defaultWireBytes
	}
	if s.WireBytes < 1 || s.WireBytes > maxWireBytes {
		return nil, fmt.Errorf("router: wire bytes is %d, want 1 to %d", s.WireBytes, maxWireBytes)
	}
	if s.Limits.BatchBytes == 0 {
		s.Limits.BatchBytes = event.DefaultLimits().BatchBytes
	}
	if s.Privacy == nil {
		if s.Privacy, err = privacy.New(privacy.Options{}); err != nil {
			return nil, err
		}
	}
	if _, err := event.NewDecoder(s.Limits); err != nil {
		return nil, err
	}
	made := &settings{Settings: s}
	made.decoders.New = func() any {
		d, err := event.NewDecoder(s.Limits)
		if err != nil {
			panic("router: " + err.Error()) // these limits were tried above
		}
		return d
	}
	return made, nil
}

// Check tells whether Change would take s.
func (s Settings) Check() error {
	_, err := newSettings(s)
	return err
}

// Change has requests that come from now on judged by s. If it returns an
// error nothing has changed.
func (r *Router) Change(s Settings) error {
	made, err := newSettings(s)
	if err == nil {
		r.settings.Store(made)
	}
	return err
}

// maxDecoderBytes is the memory of a decoder that is kept for the next body.
const maxDecoderBytes = 1 << 20

func (s *settings) putDecoder(d *event.Decoder) {
	if d.Size() <= maxDecoderBytes {
		s.decoders.Put(d)
	}
}
