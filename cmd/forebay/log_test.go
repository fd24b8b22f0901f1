package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"forebay/node/config"
)

// TestLogShowsDurations as people read them, in both formats.
func TestLogShowsDurations(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		logger, err := newLogger(config.Log{Level: "info", Format: format}, new(slog.LevelVar), &out)
		if err != nil {
			t.Fatal(err)
		}
		logger.Info("keys loaded", "age", 342*time.Second)
		if !strings.Contains(out.String(), "5m42s") {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}
