package config

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"2d": 2 * day, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "0d": 0, "7d0s": 7 * day, "-1d1h": -25 * time.Hour, "0.5d": 12 * time.Hour,
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "0": 0, "106751d": 106751 * day,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "d", "2", "2 d", "2dd", "2d 3h", "3h2d", "2d-3h", "2d+3h", "1e3d", "0x1d", "infd", "nand", "1_0d", "106752d", "106751d24h", "-106751d24h", "2days", "1w",
	} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}
