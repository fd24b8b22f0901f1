package torturetest

import (
	"math/rand/v2"
	"time"
)

// step is one decision of the driver. It depends on the seed and the step's number alone.
type step struct {
	wait   time.Duration // before it
	action int           // index into the actions
	lasts  time.Duration // of what has a duration
	random *rand.Rand    // for what the action decides itself
}

// decide draws step n of a run with the given actions.
func decide(seed uint64, n int, actions []action) step {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	s := step{
		wait:  time.Duration(random.IntN(400)) * time.Millisecond,
		lasts: 50*time.Millisecond + time.Duration(random.ExpFloat64()*float64(700*time.Millisecond)),
	}
	s.lasts = min(s.lasts, 4*time.Second)
	drawn := random.IntN(total)
	for drawn >= actions[s.action].weight {
		drawn -= actions[s.action].weight
		s.action++
	}
	s.random = random
	return s
}
