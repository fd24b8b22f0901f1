package node

import (
	"fmt"
	"time"

	"forebay/node/admin"
	"forebay/router/auth"
)

const (
	// staleKeys is the age from which keys without an error are worth a word.
	staleKeys = 5 * time.Minute
	// firstAnswer is how long a source may take for its first answer after the start.
	firstAnswer = 15 * time.Second
)

// keyState is what the checks judge keys by.
type keyState struct {
	source   auth.SourceStats
	age      time.Duration // since the source last said what they are
	maxStale time.Duration // 0: age does not matter
	count    int
	known    bool // the source or the cache has given a set
	answered bool // the source has, since the start
	inForce  bool // any key is
	stale    bool
	doubt    *auth.Doubt
	started  time.Duration // ago
}

func (h *health) keyState(now time.Time) keyState {
	r := h.node.keyring
	return keyState{
		source: r.stats(), age: r.dir.Age(), maxStale: maxStale(h.node.config().Keys), count: r.dir.Len(), known: r.dir.Filled(), answered: r.dir.Answered(),
		inForce: r.dir.InForce(now), stale: r.dir.Stale(), doubt: r.dir.Doubt(), started: time.Since(r.started),
	}
}

// accept: can any key be let in?
func (k keyState) accept(name string) admin.Check {
	switch {
	case !k.known && k.asking():
		return pending(name, false, "no request is let in before the keys have been read from their source (%s)", k.source.Source)
	case !k.known:
		return bad(name, false, "see the check keys", "the keys have never been read, so every request is dropped")
	case k.stale:
		return bad(name, false, "see the check keys: bring back their source", "the keys are older than keys.max_stale, so no key is believed")
	case k.count == 0 && k.answered:
		return bad(name, true, "create one with forebay keys create", "the source of keys (%s) answers and has no keys, so every request is dropped", k.source.Source)
	case k.count == 0:
		return bad(name, true, "see the check keys", "there were no keys when their source (%s) last answered, so every request is dropped", k.source.Source)
	case !k.inForce:
		return bad(name, true, "create one with forebay keys create", "all %d keys are revoked or expired, so every request is dropped", k.count)
	}
	return good(name)
}

// asking tells whether the source still has time for its first answer.
func (k keyState) asking() bool {
	return !k.answered && k.source.LastError == "" && k.started < firstAnswer
}

// check: are the keys what their source says now?
func (k keyState) check() admin.Check {
	const name = "keys"
	remedy := "mend PostgreSQL, keys.postgres, or the way to it; forebay doctor says more"
	if k.source.Source == "file" {
		remedy = "correct the key file; forebay doctor says more"
	}
	age := k.age.Round(time.Second)
	switch {
	case k.asking() && !k.known:
		return pending(name, false, "the keys are being read from their source (%s) for the first time", k.source.Source)
	case k.asking():
		return pending(name, true, "cached keys serve, %s old, until their source (%s) answers", age, k.source.Source)
	case !k.known:
		return bad(name, false, remedy, "the keys have never been read, neither from their source (%s) nor from a cache: %s", k.source.Source, k.why())
	case k.stale:
		return bad(name, false, remedy, "keys are %s old, over keys.max_stale (%s), so no key is believed: %s", age, k.maxStale, k.why())
	case !k.answered:
		return bad(name, true, remedy, "%d cached keys serve, %s old%s: their source (%s) has not answered since the start: %s", k.count, age, k.limit(), k.source.Source, k.why())
	case !k.source.Connected && k.source.LastError != "":
		return bad(name, true, remedy, "keys are %s old%s, their source (%s) cannot be read: %s", age, k.limit(), k.source.Source, k.source.LastError)
	case k.doubt != nil:
		return bad(name, true, "put the keys back at their source; if they are gone by intent, forebay keys accept (revoked keys are revoked at once)",
			"the source (%s) has lost %d of %d keys in force at once since %s: they stay in force until %s", k.source.Source, k.doubt.Lost, k.doubt.Had,
			k.doubt.Since.UTC().Format(time.RFC3339), k.doubt.Until.UTC().Format(time.RFC3339))
	case k.source.LastError != "":
		return bad(name, true, "correct what is named", "the source (%s) answers, but: %s", k.source.Source, k.source.LastError)
	case k.age > staleKeys:
		return bad(name, true, remedy, "keys are %s old: their source (%s) has not answered since", age, k.source.Source)
	}
	return good(name)
}

func (k keyState) why() string {
	if k.source.LastError == "" {
		return "it does not answer"
	}
	return k.source.LastError
}

// limit says how long keys are believed without their source.
func (k keyState) limit() string {
	if k.maxStale == 0 {
		return ""
	}
	return fmt.Sprintf(" and believed until they are %s", k.maxStale)
}
