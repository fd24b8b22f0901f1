package node

import (
	"os"
	"strings"
	"testing"
	"time"
)

// What times of syncs mean: a disk that answers too fast is only suspected.
func TestSyncTimesAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		each, slowest time.Duration
		kind          string
		rotating      bool
		state, text   string
	}{
		"a solid-state disk":           {each: 900 * time.Microsecond, kind: "ext4", state: FindingOK},
		"a fast one":                   {each: 30 * time.Microsecond, kind: "xfs", state: FindingOK},
		"a disk that turns":            {each: 9 * time.Millisecond, kind: "ext4", rotating: true, state: FindingOK},
		"no disk is so fast":           {each: 4 * time.Microsecond, kind: "ext4", state: FindingWarn, text: "only a hint"},
		"no platter turns so fast":     {each: 60 * time.Microsecond, kind: "ext4", rotating: true, state: FindingWarn, text: "only a hint"},
		"memory":                       {each: time.Microsecond, kind: "tmpfs", state: FindingWarn, text: "on a disk"},
		"slow":                         {each: 150 * time.Millisecond, kind: "ext4", state: FindingWarn, text: "iostat"},
		"slow now and then is the way": {each: time.Millisecond, slowest: 500 * time.Millisecond, kind: "ext4", state: FindingOK},
		"dying":                        {each: 20 * time.Millisecond, slowest: 3 * time.Second, kind: "ext4", state: FindingFail, text: "smartctl"},
	} {
		times := make([]time.Duration, syncTries)
		for i := range times {
			times[i] = c.each
		}
		times[len(times)-1] = max(c.each, c.slowest)
		f := judgeSyncs(times, c.kind, c.rotating)
		if f.State != c.state || !strings.Contains(f.Remedy, c.text) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestTimingSyncsLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	times, err := timeSyncs(dir)
	if err != nil || len(times) == 0 {
		t.Fatal(times, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := timeSyncs(dir + "/nosuch"); err == nil {
		t.Error("a folder that there is not was written")
	}
}
