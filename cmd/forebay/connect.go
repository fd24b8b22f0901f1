package main

import (
	"errors"
	"os"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
)

const defaultAdmin = "127.0.0.1:7071"

// withNode calls fn with a client of the node that the flags name: one that
// runs, or one that is stopped and whose directory is opened for the call.
func (g *globals) withNode(fn func(*admin.Client) error) (err error) {
	if g.config == "" || g.admin != "" {
		token, err := g.token(g.tokenFile)
		if err != nil {
			return err
		}
		return fn(admin.NewClient(g.address(), token))
	}
	cfg, err := g.load()
	if err != nil {
		return err
	}
	stopped, err := node.OpenStopped(cfg, version)
	if errors.Is(err, node.ErrRunning) {
		tokenFile := cfg.Admin.TokenFile
		if g.tokenFile != "" {
			tokenFile = g.tokenFile
		}
		token, err := g.token(tokenFile)
		if err != nil {
			return err
		}
		return fn(admin.NewClient(cfg.Admin.Listen, token))
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopped.Close()) }()
	return fn(admin.InProcess(stopped.Handler()))
}

// running is a client of the node that the flags name, which has to run.
func (g *globals) running() (*admin.Client, error) {
	address, tokenFile := g.address(), g.tokenFile
	if g.config != "" && g.admin == "" {
		cfg, err := g.load()
		if err != nil {
			return nil, err
		}
		address = cfg.Admin.Listen
		if tokenFile == "" {
			tokenFile = cfg.Admin.TokenFile
		}
	}
	token, err := g.token(tokenFile)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(address, token), nil
}

func (g *globals) address() string {
	if g.admin != "" {
		return g.admin
	}
	if addr := os.Getenv("FOREBAY_ADMIN"); addr != "" {
		return addr
	}
	return defaultAdmin
}

func (g *globals) token(file string) (string, error) {
	if file == "" {
		file = os.Getenv("FOREBAY_ADMIN_TOKEN_FILE")
	}
	return config.ReadSecret("the admin token", file)
}
