package config

import (
	"regexp"
	"slices"
	"strings"
)

// EnvPrefix begins the name of every environment variable that Forebay reads.
const EnvPrefix = "FOREBAY_"

// foreignEnv are the variables with our prefix that are not fields: those of the CLI and of test runs, and those that Kubernetes sets in every container for a service whose name begins with
// "forebay" (FOREBAY_SERVICE_HOST, FOREBAY_PORT_7070_TCP_ADDR).
var foreignEnv = regexp.MustCompile(`^FOREBAY_(ADMIN|OPERATOR|UPDATE|TORTURE|` +
	`([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?))$`)

// environment applies the variables of env, in the order of their names.
func (l *loader) environment(env []string) {
	for _, entry := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		if f, ok := l.byEnv[name]; ok {
			l.set(name, f, value)
		} else if !foreignEnv.MatchString(name) {
			path := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, EnvPrefix)), "_", ".")
			l.errs.add(name, "", "", "unknown variable; did you mean %s?", l.nearestEnv(path))
		}
	}
}
