package node

import (
	"math"
	"slices"
	"time"
)

// Spans of the forecast of when the disk is full.
const (
	forecastFast    = 10 * time.Second // of a rise that is new
	forecastShort   = time.Minute
	forecastLong    = 10 * time.Minute
	forecastQuiet   = 2 * time.Minute     // without a rise for so long nothing is in sight
	forecastHorizon = 30 * 24 * time.Hour // further ahead nothing is in sight
)

// notInSight is the forecast of a disk that does not fill up.
const notInSight = time.Duration(math.MaxInt64)

// forecast tells when the log is full from how fast that part of it grows that
// no cursor has passed: all else makes room. It goes by the fastest of three
// rates: of a rise that is new, of the last minute and of the last ten.
type forecast struct{ looks []look }

// look is what was seen at a time.
type look struct {
	at   time.Time
	held float64 // bytes
}

// add notes what the log holds for its cursors.
func (f *forecast) add(now time.Time, held int64) {
	if n := len(f.looks); n > 0 && !now.After(f.looks[n-1].at) {
		return // the clock was set back, or two looks in one moment
	}
	f.looks = append(f.looks, look{now, float64(held)})
	old := now.Add(-forecastLong)
	for f.looks[0].at.Before(old) {
		f.looks = f.looks[1:]
	}
}

// fullIn is in how long so many bytes more are held.
func (f *forecast) fullIn(left, budget float64) time.Duration {
	if len(f.looks) < 2 {
		return notInSight
	}
	perSecond := max(f.fast(budget), f.rise(forecastShort))
	if perSecond <= 0 && f.rise(forecastQuiet) <= 0 {
		return notInSight
	}
	perSecond = max(perSecond, f.rise(forecastLong))
	seconds := left / perSecond
	if perSecond <= 0 || seconds > forecastHorizon.Seconds() {
		return notInSight
	}
	return time.Duration(max(seconds, 0) * float64(time.Second))
}

// rise is the growth per second within a span: of the least that was held in its
// second half over the least in its first. So what goes up and down with each
// batch that is delivered does not count.
func (f *forecast) rise(span time.Duration) float64 {
	newest := f.looks[len(f.looks)-1].at
	span = min(span, newest.Sub(f.looks[0].at))
	if span < forecastFast/2 {
		return 0
	}
	first, second := math.Inf(1), math.Inf(1)
	for _, l := range f.looks {
		switch age := newest.Sub(l.at); {
		case age <= span/2:
			second = min(second, l.held)
		case age <= span:
			first = min(first, l.held)
		}
	}
	return (second - first) / (span.Seconds() / 2)
}

// fast is the growth per second since a rise began, 10 s ago at most: of one
// that goes clearly past all ups and downs of the ten minutes before. A longer
// one shows in the other rates.
func (f *forecast) fast(budget float64) float64 {
	newest := f.looks[len(f.looks)-1]
	least, most := newest.held, math.Inf(-1)
	start := newest
	for _, l := range slices.Backward(f.looks) {
		if least = min(least, l.held); newest.at.Sub(l.at) <= forecastFast {
			start = l
		} else {
			most = max(most, l.held)
		}
	}
	slack := budget / 2000
	for _, l := range f.looks { // it may have begun later than 10 s ago
		if !l.at.Before(start.at) && l.held <= least+slack {
			start = l
		}
	}
	took := newest.at.Sub(start.at)
	if took < 2*keepEvery || newest.held-least < 1.25*max(most-least, 0)+slack {
		return 0
	}
	return (newest.held - start.held) / took.Seconds()
}
