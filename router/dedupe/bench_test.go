package dedupe_test

import (
	"math/rand/v2"
	"testing"

	"forebay/router/dedupe"
)

// BenchmarkWindow is one request of ten new keys, with a full window and 64
// other requests in flight.
func BenchmarkWindow(b *testing.B) {
	const keys, inFlight = 10, 64
	w := dedupe.New(dedupe.Options{})
	random := rand.New(rand.NewPCG(1, 2))
	digests := make([]uint64, keys)
	var waiting [inFlight]*dedupe.Reservation
	request := func(i int) {
		for j := range digests {
			digests[j] = random.Uint64()
		}
		if r := waiting[i%inFlight]; r != nil {
			r.Commit()
		}
		waiting[i%inFlight] = w.Reserve(digests)
	}
	for i := range dedupe.DefaultMaxKeys / keys {
		request(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		request(i)
	}
}
