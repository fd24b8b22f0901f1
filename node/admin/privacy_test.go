package admin

import (
	"fmt"
	"testing"

	"forebay/router"
)

// A report counts by name no more projects and fields than it may.
func TestPrivacyReportIsBounded(t *testing.T) {
	var all PrivacyReport
	total := uint64(0)
	for i := range router.MaxProjects + 50 {
		detector := PrivacyDetector{Detector: "email", Action: "report", Events: 1, Fields: map[string]uint64{fmt.Sprintf("metadata.f%d", i): 1}}
		name := fmt.Sprintf("p%d", i)
		if i%2 == 0 {
			name = "p0"
		}
		all.add(PrivacyReport{FirstSeq: 1, LastSeq: 10_000, NextSeq: uint64(i) + 2, Events: 1, Projects: []PrivacyProject{
			{Project: name, Events: 1, Found: 1, Detectors: []PrivacyDetector{detector}},
			{Project: fmt.Sprintf("q%d", i), Events: 1},
		}})
	}
	if len(all.Projects) > router.MaxProjects+1 {
		t.Errorf("%d projects", len(all.Projects))
	}
	events := uint64(0)
	for _, p := range all.Projects {
		events += p.Events
		for _, d := range p.Detectors {
			if len(d.Fields) > maxFields+1 {
				t.Errorf("%s has %d fields", p.Project, len(d.Fields))
			}
			for _, n := range d.Fields {
				total += n
			}
		}
	}
	if want := uint64(router.MaxProjects + 50); total != want || events != 2*want || all.Events != want {
		t.Errorf("%d places, %d events in projects, %d in all; want %d, %d, %d", total, events, all.Events, want, 2*want, want)
	}
}
