package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFileBytes bounds a configuration file; the sample, which has every field, takes 9 KiB.
const maxFileBytes = 64 << 10

// Load reads the configuration: the defaults, over them the file at path (none when path is empty), over
// it the FOREBAY_ variables of env (in the form of os.Environ). The result is validated and complete: node.id and shippers.archive.dir are filled in.
//
// An error that is about the configuration's content is an [Errors] and lists everything that is wrong;
// any other error is about reading the file.
func Load(path string, env []string) (Config, error) {
	c := Default()
	l := newLoader(&c)
	if path != "" {
		data, err := readFile(path)
		if err != nil {
			return Config{}, err
		}
		l.file(filepath.Base(path), data)
	}
	l.environment(env)
	if len(l.errs) == 0 { // a value that did not parse would only be reported twice
		l.errs = c.check(l.sources)
	}
	if err := l.errs.join(); err != nil {
		return Config{}, err
	}
	if err := c.complete(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// complete fills in what is left empty to mean "derive it".
func (c *Config) complete() error {
	if c.Node.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node.id is empty and the host's name is not known; set node.id: %w", err)
		}
		c.Node.ID = host
	}
	if c.Shippers.Archive.Dir == "" {
		c.Shippers.Archive.Dir = filepath.Join(c.Node.DataDir, "archive")
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w; give the file with --config, or use --dev", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("read configuration: %s is larger than 64 KiB; is it the right file?", path)
	}
	return data, nil
}

// loader collects values, where they came from, and what is wrong with them.
type loader struct {
	fields  []field
	byPath  map[string]*field
	byEnv   map[string]*field
	groups  map[string]bool   // paths that hold fields: "wal", "wal.retain"
	sources map[string]string // path of a field that was set: where
	errs    Errors
}

func newLoader(c *Config) *loader {
	l := &loader{fields: fields(c), byPath: map[string]*field{}, byEnv: map[string]*field{},
		groups: map[string]bool{}, sources: map[string]string{}}
	for i := range l.fields {
		f := &l.fields[i]
		l.byPath[f.path], l.byEnv[f.env()] = f, f
		for at := parent(f.path); at != ""; at = parent(at) {
			l.groups[at] = true
		}
	}
	return l
}

// set parses text into f and remembers where it came from.
func (l *loader) set(source string, f *field, text string) {
	l.sources[f.path] = source
	if problem := parseValue(f.target, text); problem != "" {
		l.errs.add(source, f.path, f.shown(text), "%s", problem)
	}
}

// shown is the value as an error may print it.
func (f field) shown(text string) string {
	if f.secret {
		return ""
	}
	return text
}
