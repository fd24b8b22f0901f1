//go:build !linux

package wal

import "os"

// allocate reserves size bytes of disk space for a new file.
func allocate(f *os.File, size int64) error { return writeZeros(f, size) }
