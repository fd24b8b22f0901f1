package session

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// maxTokenBytes bounds a token file.
const maxTokenBytes = 16 << 10

// tokenFile is a bearer token in a file that others may replace at any time.
type tokenFile struct {
	path string // "": there is no token

	mu    sync.Mutex
	read  fs.FileInfo // the file that value came from
	value string
}

// authorization is the value of the Authorization header, "" for none. The
// file is read again whenever it has changed.
func (t *tokenFile) authorization() (string, error) {
	if t.path == "" {
		return "", nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	if t.read != nil && os.SameFile(info, t.read) && info.Size() == t.read.Size() &&
		info.ModTime().Equal(t.read.ModTime()) && time.Since(info.ModTime()) > settled {
		return t.value, nil
	}
	if info.Size() > maxTokenBytes {
		return "", fmt.Errorf("token file %s: more than %d bytes", t.path, maxTokenBytes)
	}
	raw, err := os.ReadFile(t.path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := bytes.TrimSpace(raw)
	if len(token) == 0 {
		return "", fmt.Errorf("token file %s is empty", t.path)
	}
	for _, b := range token {
		if b <= ' ' || b >= 0x7f {
			return "", fmt.Errorf("token file %s: want one token of printable ASCII", t.path)
		}
	}
	t.read, t.value = info, "Bearer "+string(token)
	return t.value, nil
}

// settled is how old a file's time must be for an equal time to mean an equal
// file: file systems tell times apart by some milliseconds only.
const settled = time.Second
