package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// FieldError is one thing that is wrong with a configuration.
type FieldError struct {
	Source  string // where it was set: "forebay.yaml:12", "FOREBAY_WAL_FSYNC"; empty for a default
	Field   string // dotted path; empty when the finding is not about one field
	Value   string // what was given; empty when nothing was, or when it may be a secret
	Problem string // what is wrong and what to do about it
}

// Error is one line: source, field, value, problem.
func (e *FieldError) Error() string {
	var b strings.Builder
	for _, part := range []string{e.Source, e.Field} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	if e.Value != "" {
		b.WriteString(shorten(e.Value) + ": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// shorten quotes a value and keeps the line readable when it is long.
func shorten(value string) string {
	const most = 80
	if len(value) > most {
		value = strings.ToValidUTF8(value[:most], "") + "…"
	}
	return strconv.Quote(value)
}

// Errors is everything that is wrong with a configuration, in the order of the file and then of the
// table of fields. errors.As finds a FieldError in it.
type Errors []*FieldError

// Error is one finding a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, finding := range e {
		lines[i] = finding.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the findings to errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, finding := range e {
		list[i] = finding
	}
	return list
}

// join turns findings into an error, nil when there are none.
func (e Errors) join() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

func (e *Errors) add(source, field, value, format string, args ...any) {
	*e = append(*e, &FieldError{Source: source, Field: field, Value: value, Problem: fmt.Sprintf(format, args...)})
}

// errNotRegular is why a file that a field names cannot be used.
var errNotRegular = errors.New("not a regular file")
