package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"
)

// redacted stands in the place of a secret.
const redacted = "REDACTED"

// Redacted returns c without its secrets: passwords in the key database's connection string. Other
// secrets are only ever named by their files.
func (c Config) Redacted() Config {
	c.Keys.Postgres.DSN = redactDSN(c.Keys.Postgres.DSN)
	return c
}

// plainDSN matches a setting of a connection string in the form host=db password='a b'.
var plainDSN = regexp.MustCompile(`(?i)\b(password|sslpassword|passfile)\s*=\s*('(?:[^'\\]|\\.)*'?|\S+)`)

// redactDSN hides the password in a connection string of either form. What is neither is hidden whole.
func redactDSN(dsn string) string {
	if dsn == "" {
		return ""
	}
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		if !strings.Contains(dsn, "=") {
			return redacted
		}
		return plainDSN.ReplaceAllString(dsn, "${1}="+redacted)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return redacted
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), redacted)
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(strings.ToLower(name), "pass") {
			query.Set(name, redacted)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Show writes every setting as YAML that Load reads back, secrets redacted.
func (c Config) Show() string {
	c = c.Redacted()
	var b strings.Builder
	write(&b, fields(&c), false)
	return b.String()
}

// ShowJSON is Show as JSON, which Load reads back too.
func (c Config) ShowJSON() (string, error) {
	c = c.Redacted()
	root := map[string]any{}
	for _, f := range fields(&c) {
		group := root
		for _, at := range ancestors(parent(f.path)) {
			below, ok := group[step(at)].(map[string]any)
			if !ok {
				below = map[string]any{}
				group[step(at)] = below
			}
			group = below
		}
		group[step(f.path)] = jsonValue(f.target)
	}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return "", fmt.Errorf("show configuration: %w", err)
	}
	return string(text) + "\n", nil
}

// Change is a field that two configurations differ in.
type Change struct {
	Field string `json:"field"` // dotted path
	From  string `json:"from"`  // as in the file, secrets redacted
	To    string `json:"to"`
}

// Changes lists what next changes of c, in the order of the file: what a running
// node takes, and what holds only after a restart.
func (c Config) Changes(next Config) (live, fixed []Change) {
	from, to := fields(&c), fields(&next)
	for i, f := range from {
		if formatValue(f.target) == formatValue(to[i].target) {
			continue
		}
		change := Change{Field: f.path, From: formatValue(f.target), To: formatValue(to[i].target)}
		if f.secret {
			change.From, change.To = redacted, redacted
		}
		if f.live {
			live = append(live, change)
		} else {
			fixed = append(fixed, change)
		}
	}
	return live, fixed
}

// WithLive is c with the live fields of next.
func (c Config) WithLive(next Config) Config {
	from, to := fields(&c), fields(&next)
	for i, f := range from {
		if f.live {
			reflect.ValueOf(f.target).Elem().Set(reflect.ValueOf(to[i].target).Elem())
		}
	}
	return c
}

// jsonValue is what target holds, in a type that JSON has.
func jsonValue(target any) any {
	switch v := target.(type) {
	case *string:
		return *v
	case *[]string:
		return append([]string{}, *v...)
	case *bool:
		return *v
	case *int:
		return *v
	case *float64:
		return *v
	default: // sizes and durations, as they stand in the file
		return formatValue(target)
	}
}

// Sample is a complete configuration file with every field at its default, each with a comment.
func Sample() string {
	c := Default()
	var b strings.Builder
	b.WriteString("# Forebay's configuration: every field, at its default. What is left out has the same value.\n" +
		"# Each field is also an environment variable: wal.retain.age is FOREBAY_WAL_RETAIN_AGE, lists by comma.\n" +
		"# Sizes: 500KiB, 8MiB, 1GiB or plain bytes. Durations: 50ms, 90s, 10m, 168h, 7d.\n" +
		"# Check a file with: forebay config check --config FILE\n" +
		"# A running node takes changes of fields marked [live], by forebay config reload --config FILE or SIGHUP; the others want a restart.\n")
	write(&b, fields(&c), true)
	return b.String()
}

// write prints the fields as nested YAML, with their meaning as comments if so told.
func write(b *strings.Builder, table []field, comments bool) {
	about, open := sections(), ""
	for _, f := range table {
		group := parent(f.path)
		for depth, at := range ancestors(group) {
			if at != open && !strings.HasPrefix(open, at+".") {
				indent := strings.Repeat("  ", depth)
				if comments && depth == 0 {
					b.WriteString("\n")
				}
				if comments {
					comment(b, indent, about[at])
				}
				fmt.Fprintf(b, "%s%s:\n", indent, step(at))
				open = at
			}
		}
		open = group
		indent := strings.Repeat("  ", strings.Count(f.path, "."))
		if comments {
			text := f.doc
			if f.choice != "" {
				text += " One of: " + strings.Join(strings.Fields(f.choice), ", ") + "."
			}
			if f.live {
				text += " [live]"
			}
			comment(b, indent, text)
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, step(f.path), formatValue(f.target))
	}
}

// ancestors lists "a", "a.b", "a.b.c" for "a.b.c".
func ancestors(path string) []string {
	if path == "" {
		return nil
	}
	return append(ancestors(parent(path)), path)
}

// comment writes text as lines of at most about 100 letters.
func comment(b *strings.Builder, indent, text string) {
	const width = 100
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// Reference is the table of all fields in Markdown: name, default, meaning, environment variable.
func Reference() string {
	c := Default()
	var b strings.Builder
	b.WriteString("| Field | Default | Meaning | Live | Environment variable |\n|---|---|---|---|---|\n")
	for _, f := range fields(&c) {
		text := f.doc
		if f.choice != "" {
			text += " One of: `" + strings.Join(strings.Fields(f.choice), "`, `") + "`."
		}
		live := ""
		if f.live {
			live = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | `%s` |\n", f.path, formatValue(f.target), strings.ReplaceAll(text, "|", `\|`), live, f.env())
	}
	return b.String()
}
