package router

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"sort"
	"sync/atomic"
	"time"
)

// A stored batch is answered when it is on disk, so a refusal that were
// answered at once could be told from it by the time. Therefore the reply to a
// refusal is held until the time has passed, since the last byte of its body,
// that a stored batch of about the same size took a moment ago.

const (
	// defaultMaxHold bounds how long a reply is held.
	defaultMaxHold = 2 * time.Second
	// While nothing has been stored, replies are held for a time between these.
	firstHoldMin, firstHoldMax = 500 * time.Microsecond, 4 * time.Millisecond

	// keptTimes is how many of the last times are drawn from, of each class.
	keptTimes = 4096
	// timesAge is how old a time may be, in ticks, to be drawn; but the newest
	// fewTimes are drawn whatever their age.
	timesAge = 10 * time.Second / timesTick
	fewTimes = 16

	timesTick = 10 * time.Millisecond

	// A hold of longHold or more is shortened, or lengthened, by maxEarly at most,
	// and a shorter one by as much less: it would otherwise end before anything can
	// be stored.
	maxEarly = time.Millisecond
	longHold = 4 * time.Millisecond
	// earlyStep is by how much one comparison sets the next long holds earlier or
	// later: little, so that chance does not drive them far, and enough for them to
	// follow within some hundred replies.
	earlyStep = 8 * time.Microsecond
)

// Classes of body sizes: up to 1 KiB, 2 KiB, … 1 MiB, and more.
const sizeClasses = 12

func sizeClass(wireBytes int) int {
	return min(bits.Len(uint(max(wireBytes-1, 0)>>10)), sizeClasses-1)
}

// times are the last times that stored batches of one class took. Adding one
// takes no lock. The zero times are empty.
type times struct {
	count atomic.Uint64 // ever added
	ring  [keptTimes]atomic.Uint64
}

// A time in the ring is in nanoseconds, of which 31 bits hold two seconds,
// behind the tick at which it was added. 33 bits of ticks come round after
// years.
const (
	tookBits = 31
	tickMask = 1<<(64-tookBits) - 1
)

func (t *times) add(tick uint64, took time.Duration) {
	took = min(max(took, 1), 1<<tookBits-1)
	t.ring[(t.count.Add(1)-1)%keptTimes].Store((tick&tickMask)<<tookBits | uint64(took))
}

// draw returns one of the recent times, or 0 if there are fewer than least.
func (t *times) draw(tick uint64, least int) time.Duration {
	count := t.count.Load()
	kept := int(min(count, keptTimes))
	if kept < least {
		return 0
	}
	newest := func(i int) uint64 { return t.ring[(count-1-uint64(i))%keptTimes].Load() }
	recent := sort.Search(kept, func(i int) bool {
		return (tick-newest(i)>>tookBits)&tickMask > uint64(timesAge)
	})
	recent = max(recent, min(kept, fewTimes))
	return time.Duration(newest(rand.IntN(recent)) & (1<<tookBits - 1))
}

// holding evens out the time until replies. Its memory is bounded: 32 KiB for
// each class that has been in use. All methods are safe for concurrent use.
type holding struct {
	began time.Time
	limit time.Duration // of a hold; below 0 nothing is held
	alarm *alarm
	early earliness
	// By class of size, and whether the body was compressed.
	classes [sizeClasses][2]atomic.Pointer[times]
}

// earliness is by how much replies are set earlier than was drawn for them: in
// nanoseconds, for a long hold. A busy processor wakes whoever waits late, seldom by
// a little and seldom by the same. So each reply that was held is compared, as it
// goes out, with another time that might have been drawn: if it took longer, the next
// ones are set earlier, and if less, later. Within its bounds that comes to rest where
// as many take longer as take less.
type earliness struct{ atomic.Int64 }

// of returns by how much a hold is to be shortened. Below 0 it is to be lengthened,
// as chance will have it where wakes are hardly late.
func (e *earliness) of(hold time.Duration) time.Duration {
	return time.Duration(float64(e.Load()) * float64(min(hold, longHold)) / float64(longHold))
}

// learn compares what a held reply took with another time. That it took the same,
// as where all times are the same, says nothing.
func (e *earliness) learn(took, other time.Duration) {
	switch early := time.Duration(e.Load()); {
	case took > other && early < maxEarly:
		e.Add(int64(earlyStep))
	case took < other && early > -maxEarly:
		e.Add(-int64(earlyStep))
	}
}

func newHolding(limit time.Duration) *holding {
	return &holding{began: time.Now(), limit: limit, alarm: newAlarm()}
}

func (h *holding) tick(now time.Time) uint64 { return uint64(now.Sub(h.began) / timesTick) }

// span is what the time of a reply depends on: when the body had been read to
// its end, and of what kind it was.
type span struct {
	read    time.Time
	class   int
	encoded bool
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// stored notes that the reply to a stored batch is ready.
func (h *holding) stored(s span) {
	now := time.Now()
	class := &h.classes[s.class][index(s.encoded)]
	t := class.Load()
	if t == nil {
		class.CompareAndSwap(nil, new(times))
		t = class.Load()
	}
	t.add(h.tick(now), now.Sub(s.read))
}

// refused returns when the reply to a refused request may go out: at once if
// its own time has passed already, or when ctx ends.
func (h *holding) refused(ctx context.Context, s span) {
	if h.limit < 0 {
		return
	}
	own, hold := time.Since(s.read), h.draw(s)
	if own >= hold {
		return
	}
	h.alarm.wait(ctx, s.read.Add(min(hold-h.early.of(hold), h.limit)))
	// A time that this request could not have met says nothing about its wake.
	if other := h.draw(s); other > own && ctx.Err() == nil {
		h.early.learn(time.Since(s.read), other)
	}
}

// draw returns a time for a refused request, within the limit: one of its own class
// or, as long as few of that are known, of the nearest class of which enough are.
func (h *holding) draw(s span) time.Duration { return min(h.drawStored(s), h.limit) }

func (h *holding) drawStored(s span) time.Duration {
	for _, least := range [...]int{fewTimes, 1} {
		for _, encoded := range [...]bool{s.encoded, !s.encoded} {
			for distance := range sizeClasses {
				took := h.drawFrom(span{class: s.class - distance, encoded: encoded}, least)
				if took == 0 {
					took = h.drawFrom(span{class: s.class + distance, encoded: encoded}, least)
				}
				if took > 0 {
					return took
				}
			}
		}
	}
	return firstHoldMin + rand.N(firstHoldMax-firstHoldMin)
}

// drawFrom returns a time of one class, or 0 if fewer than least are known.
func (h *holding) drawFrom(s span, least int) time.Duration {
	if s.class < 0 || s.class >= sizeClasses {
		return 0
	}
	t := h.classes[s.class][index(s.encoded)].Load()
	if t == nil {
		return 0
	}
	return t.draw(h.tick(time.Now()), least)
}
