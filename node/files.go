package node

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"forebay/node/admin"
	"forebay/node/config"
)

// fileContents are digests of the files that the configuration names, by field.
// A file that cannot be read has the zero digest.
type fileContents map[string][sha256.Size]byte

// readContents reads every file that the configuration names.
func readContents(c config.Config) (fileContents, map[string]error) {
	contents, failed := fileContents{}, map[string]error{}
	for _, file := range c.Files() {
		digest, err := fileDigest(file.Path)
		if err != nil {
			failed[file.Field] = err
		}
		contents[file.Field] = digest
	}
	return contents, failed
}

func fileDigest(path string) (digest [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return digest, err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return digest, err
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

// compareFiles tells which files hold another content than at the start or the
// reload before. All are read again by what uses them, with or without a reload.
func (n *Node) compareFiles(c config.Config) []admin.FileChange {
	contents, failed := readContents(c)
	changes := []admin.FileChange{}
	for _, file := range c.Files() {
		err := failed[file.Field]
		if err == nil && contents[file.Field] == n.contents[file.Field] {
			continue
		}
		change := admin.FileChange{Field: file.Field, Path: file.Path}
		if err != nil {
			change.Error = fmt.Sprintf("cannot be read, the content before stays in use: %v", err)
			contents[file.Field] = n.contents[file.Field]
		}
		changes = append(changes, change)
	}
	n.contents = contents
	return changes
}
