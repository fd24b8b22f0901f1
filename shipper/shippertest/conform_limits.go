package shippertest

import (
	"context"

	"forebay/shipper"
)

// tooMuch has the destination turn away what holds more than two events, with a
// backlog before it: all arrives, once and in order, and nothing is buried; so
// after a stop in the middle of it, a rewind, and a restart.
func tooMuch(t *trial) {
	for name := range t.subject(t.T).Limits {
		l := t.begin()
		l.append(4)
		l.start()
		l.settled()
		l.Limits[name]()
		l.append(60)
		l.ship.WaitFor(name+": some has arrived", func() bool { return len(l.Arrived()) > 8 })
		l.ship.Stop()
		l.start()
		l.settled()
		l.wantAtLeast(span(1, 64))
		l.pause()
		l.Empty()
		if _, err := l.ship.Rewind(context.Background(), operator, 10); err != nil {
			t.Fatalf("%s: rewind: %v", name, err)
		}
		l.resume()
		l.settled()
		l.want(span(10, 64))
		if s := l.ship.Status(); s.Dead != 0 || s.State != shipper.Running {
			t.Errorf("%s: %+v", name, s)
		}
		l.ship.Stop()
	}
}
