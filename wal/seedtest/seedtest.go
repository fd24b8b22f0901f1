// Package seedtest gives tests their randomness: each source follows from one seed, which a failing test prints and
// which RAPID_SEED sets, for property tests (pgregory.net/rapid reads the same variable) and for all others.
package seedtest

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
)

// Variable is the environment variable that repeats a run: a decimal number above 0.
const Variable = "RAPID_SEED"

var ofProcess = sync.OnceValues(func() (uint64, error) {
	text := os.Getenv(Variable)
	if text == "" {
		return 1 + rand.Uint64N(1<<63), nil // short enough to be typed, and never 0, which rapid takes for none
	}
	return strconv.ParseUint(text, 10, 64)
})

// Process returns the seed of this process, and logs how to repeat the run. It fails the test if the variable holds no
// number.
func Process(t testing.TB) uint64 {
	t.Helper()
	seed, err := ofProcess()
	if err != nil {
		t.Fatalf("%s: %v", Variable, err)
	}
	t.Logf("%s=%d repeats what is random here", Variable, seed)
	return seed
}

// Of returns the seed of one test: it follows from the seed of the process and the test's name, so that it is the same
// whichever tests run beside it.
func Of(t testing.TB) uint64 {
	t.Helper()
	h := fnv.New64a()
	h.Write([]byte(t.Name()))
	return Process(t) ^ h.Sum64()
}

// A Rand draws numbers. It is safe for concurrent use, whose order then decides who draws what.
type Rand struct {
	mu sync.Mutex
	r  *rand.Rand
}

// New returns a source for one test.
func New(t testing.TB) *Rand {
	t.Helper()
	return &Rand{r: rand.New(rand.NewPCG(Of(t), 0))}
}

// IntN returns a number in [0, n); n is at least 1.
func (r *Rand) IntN(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.IntN(n)
}

// Uint64 returns any number.
func (r *Rand) Uint64() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Uint64()
}

// ExpFloat64 returns an exponentially distributed number with mean 1.
func (r *Rand) ExpFloat64() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.ExpFloat64()
}
