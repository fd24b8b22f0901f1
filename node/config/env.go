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

// environment applies the variables of env, in the order of their names. A name that is almost a field's is an error.
func (l *loader) environment(env []string) {
	for _, entry := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(entry, "=")
		if f, ok := l.byEnv[name]; ok {
			l.set(name, f, value)
		} else if path, ours := unknownPath(name); ours && l.nearMiss(path) {
			l.errs.add(name, "", "", "unknown variable; did you mean %s?", l.nearestEnv(path))
		}
	}
}

// UnknownEnv are the names in env that begin with our prefix and mean nothing to Forebay: they are not even almost a field's.
func UnknownEnv(env []string) []string {
	var c Config
	l := newLoader(&c)
	var names []string
	for _, entry := range slices.Sorted(slices.Values(env)) {
		name, _, _ := strings.Cut(entry, "=")
		if path, ours := unknownPath(name); ours && l.byEnv[name] == nil && !l.nearMiss(path) {
			names = append(names, name)
		}
	}
	return names
}

// EnvSets reports whether env sets a field of the configuration.
func EnvSets(env []string) bool {
	var c Config
	l := newLoader(&c)
	return slices.ContainsFunc(env, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return l.byEnv[name] != nil
	})
}

// Over returns c with the variables of env over it, validated and complete.
func (c Config) Over(env []string) (Config, error) {
	l := newLoader(&c)
	l.environment(env)
	if len(l.errs) == 0 {
		l.errs = c.check(l.sources)
	}
	if err := l.errs.join(); err != nil {
		return Config{}, err
	}
	return c, c.complete()
}

// unknownPath is the path that name would have if it were a field's, with a dot for each underscore. It is not ours
// without the prefix, or if others are known to set it.
func unknownPath(name string) (path string, ours bool) {
	rest, ours := strings.CutPrefix(name, EnvPrefix)
	return dotted(strings.ToLower(rest)), ours && !foreignEnv.MatchString(name)
}

// nearMiss reports whether path, which has a dot for each underscore, was likely meant for a field: it is in a group of
// the top level, or is spelled almost like a field, with or without the groups above its own.
func (l *loader) nearMiss(path string) bool {
	group, _, below := strings.Cut(path, ".")
	if below && l.groups[group] {
		return true
	}
	slips := min(2, len(path)/3)
	return slices.ContainsFunc(l.fields, func(f field) bool {
		for at := f.path; strings.Contains(at, "."); _, at, _ = strings.Cut(at, ".") {
			if distance(path, dotted(at)) <= slips {
				return true
			}
		}
		return false
	})
}
