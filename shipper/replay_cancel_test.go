package shipper_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// TestCancelWhileAReplayBegins: at whatever moment the command comes, nothing
// of the replay goes on after it.
func TestCancelWhileAReplayBegins(t *testing.T) {
	b := newBench(t, shippertest.NewRig(t))
	b.add("p s a", "p s a", "p s a", "p s a", "p s a", "p s a", "p s a", "p s a")
	b.start()
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					b.replays.KeepFrom()
				}
			}
		})
	}
	t.Cleanup(func() { close(done); readers.Wait() })
	for range 200 {
		var names []string
		for range 3 {
			names = append(names, b.begin(shipper.ReplaySpec{}))
		}
		var cancels sync.WaitGroup
		for _, name := range names {
			cancels.Go(func() {
				if _, err := b.replays.Cancel(t.Context(), ann, name); err != nil && !errors.Is(err, shipper.ErrRefused) {
					t.Errorf("cancel %s: %v", name, err)
				}
			})
		}
		cancels.Wait()
	}
	b.stop()
	err := b.State.Scan("cursor/", func(key string, _ []byte) error {
		if strings.HasPrefix(key, "cursor/replay-") {
			t.Errorf("%s is saved after its replay has ended", key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
