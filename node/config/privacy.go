package config

import (
	"fmt"
	"strings"

	"forebay/router/privacy"
)

// detectorNames lists the names that a rule may have.
func detectorNames() string {
	names := make([]string, privacy.DetectorCount)
	for d := range privacy.DetectorCount {
		names[d] = d.String()
	}
	return strings.Join(names, ", ")
}

// nearestDetector is the detector whose name is most like one.
func nearestDetector(name string) string {
	best := privacy.Detector(0)
	for d := range privacy.DetectorCount {
		if distance(name, d.String()) < distance(name, best.String()) {
			best = d
		}
	}
	return best.String()
}

// privacyRule is one entry of privacy.rules.
type privacyRule struct {
	project  string // empty: all projects
	detector privacy.Detector
	action   privacy.Action
}

// parseRule reads DETECTOR=ACTION or PROJECT/DETECTOR=ACTION. A project's name may have a slash.
func parseRule(text string) (privacyRule, error) {
	var rule privacyRule
	equals := strings.LastIndexByte(text, '=')
	left, action := text[:max(equals, 0)], text[equals+1:]
	if slash := strings.LastIndexByte(left, '/'); slash >= 0 {
		if slash == 0 {
			return rule, fmt.Errorf("%q has no project before the slash; write PROJECT/DETECTOR=ACTION", text)
		}
		rule.project, left = left[:slash], left[slash+1:]
	}
	switch {
	case equals < 0 || action != PrivacyDrop && action != PrivacyReport:
		return rule, fmt.Errorf("%q has no action; write DETECTOR=drop or DETECTOR=report", text)
	case action == PrivacyReport:
		rule.action = privacy.Report
	}
	detector, err := privacy.ParseDetector(left)
	if err != nil {
		return rule, fmt.Errorf("%q names no detector; did you mean %s? They are %s", text, nearestDetector(left), detectorNames())
	}
	rule.detector = detector
	return rule, nil
}

// Options are the settings in the form in which the checker takes them. The rules are those of a Config
// that passed Validate; the error is for others.
func (p Privacy) Options() (privacy.Options, error) {
	o := privacy.Options{Rules: privacy.Rules{}, Projects: map[string]privacy.Rules{}, DeniedKeys: p.DeniedKeys}
	if p.Action == PrivacyReport {
		o.Action = privacy.Report
	}
	for _, text := range p.Rules {
		rule, err := parseRule(text)
		if err != nil {
			return privacy.Options{}, fmt.Errorf("privacy.rules: %w", err)
		}
		rules := o.Rules
		if rule.project != "" {
			if o.Projects[rule.project] == nil {
				o.Projects[rule.project] = privacy.Rules{}
			}
			rules = o.Projects[rule.project]
		}
		rules[rule.detector] = rule.action
	}
	return o, nil
}
