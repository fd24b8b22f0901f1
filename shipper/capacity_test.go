package shipper

import (
	"testing"
	"time"
)

// belt is a cursor in numbers: batches of up to rows events, or those that came
// within age, each of which takes a while to deliver.
type belt struct {
	capacity
	now          time.Time
	newest, next uint64
	inflow       float64 // events a second
	owed         float64
}

const (
	beltRows = 50_000
	beltAge  = time.Second
	beltRest = 20 * time.Millisecond // of each request
	beltPace = 200_000               // events a second, the rest aside
)

func (b *belt) pass(d time.Duration) {
	b.now = b.now.Add(d)
	b.owed += b.inflow * d.Seconds()
	b.newest += uint64(b.owed)
	b.owed -= float64(uint64(b.owed))
}

// batch delivers one.
func (b *belt) batch() {
	if b.newest+1-b.next < beltRows {
		b.pass(beltAge)
	}
	n := min(b.newest+1-b.next, beltRows)
	if n == 0 {
		return
	}
	b.pass(beltRest + time.Duration(float64(n)/beltPace*float64(time.Second)))
	b.next += n
	b.advanced(b.now, n, b.next, b.newest)
}

// TestCapacityIsMeasuredWhileBehind: a cursor that keeps up, whatever the rate of
// what comes in, tells nothing of how fast it could be; one with a backlog does,
// and what it tells of rewinds of other lengths is right within a factor of 3.
func TestCapacityIsMeasuredWhileBehind(t *testing.T) {
	for _, inflow := range []float64{3, 500, 20_000} {
		b := belt{now: time.Unix(1e9, 0), next: 1, inflow: inflow}
		b.begin(b.now, 0)
		for range 120 {
			b.batch()
		}
		if rate := b.perSecond(); rate != 0 {
			t.Errorf("at %.0f events/s it keeps up, and shows a capacity of %.0f/s", inflow, rate)
		}
		b.interrupt()
		b.pass(2 * time.Minute)
		b.newest += 500_000 // the destination was away
		b.begin(b.now, b.newest)
		for b.newest+1-b.next >= beltRows {
			b.batch()
		}
		for range 120 {
			b.batch()
		}
		for _, events := range []uint64{24_200, 59_690, 227_734, 5_000_000} {
			if events > b.next-1 {
				b.next, b.newest = b.next+events, b.newest+events
			}
			estimate := b.takes(events, Flush{Age: beltAge})
			end := b.next
			b.next -= events
			began := b.now
			b.begin(b.now, b.newest)
			for b.next < end {
				b.batch()
			}
			if took := b.now.Sub(began).Seconds(); estimate < took/3 || estimate > 3*took {
				t.Errorf("beside %.0f events/s a rewind of %d events was to take %.2f s and took %.2f s", inflow, events, estimate, took)
			}
		}
	}
}

// TestCapacityLeavesOutWhatFailed: the time of an outage is no time of delivery.
func TestCapacityLeavesOutWhatFailed(t *testing.T) {
	b := belt{now: time.Unix(1e9, 0), next: 1, newest: 1_000_000}
	b.begin(b.now, b.newest)
	for range 4 {
		b.batch()
	}
	before := b.perSecond()
	b.interrupt() // as a report of a failure does
	b.pass(20 * time.Minute)
	for range 4 {
		b.batch()
	}
	if after := b.perSecond(); before == 0 || after < before*0.9 || after > before*1.1 {
		t.Errorf("%.0f events/s before an outage, %.0f/s after", before, after)
	}
}
