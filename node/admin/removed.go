package admin

import (
	"time"

	"forebay/shipper"
)

// removedSince is what may have been received from since on that the log no
// longer keeps. How much of what is gone came so late is not known: all of it,
// at most.
func (a *api) removedSince(since time.Time) (r shipper.Removed) {
	s := a.Log.Stats()
	if s.FirstSeq <= 1 || !s.OldestTime.IsZero() && !since.Before(s.OldestTime) {
		return r
	}
	return shipper.Removed{NotKept: s.FirstSeq - 1, AtMost: true, Since: since.UTC(), Until: s.OldestTime}
}

// removedBefore is what of the seqs from first on the log no longer keeps.
func (a *api) removedBefore(first uint64) (r shipper.Removed) {
	if oldest := a.Log.FirstSeq(); first < oldest {
		r.NotKept = oldest - max(first, 1)
	}
	return r
}
