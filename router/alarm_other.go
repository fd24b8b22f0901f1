//go:build !linux

package router

import "time"

// fineTimers are not needed where the runtime's timers are fine.
type fineTimers struct{}

func (*fineTimers) wait(time.Duration) bool { return false }
