package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// embedded runs a node that needs nothing but its binary.
func (d *demo) embedded(ctx context.Context) (place, error) {
	if err := d.start("forebay", "run", "--dev", "--dev-dir", d.dir); err != nil {
		return place{}, err
	}
	var info struct {
		Ingest, Admin, Session, Archive string
		KeyFile                         string `json:"key_file"`
	}
	err := poll(ctx, startLimit, func() (bool, error) {
		text, err := os.ReadFile(filepath.Join(d.dir, "dev.json"))
		if err != nil {
			return false, err
		}
		return true, json.Unmarshal(text, &info)
	})
	if err == nil {
		err = poll(ctx, startLimit, func() (bool, error) {
			var ready any
			return true, getJSON(ctx, "http://"+info.Admin+"/readyz", &ready)
		})
	}
	if err != nil {
		return place{}, fmt.Errorf("the node did not start, see %s: %w", filepath.Join(d.dir, "forebay.log"), err)
	}
	return place{ingest: info.Ingest, admin: info.Admin, session: info.Session, keyFile: info.KeyFile, archive: info.Archive}, nil
}
