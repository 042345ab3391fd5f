// Live streams audio as fast as it is spoken and prints words as they come.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	dsmstt "github.com/dsm-stt/dsm-stt/clients/go"
	"github.com/dsm-stt/dsm-stt/clients/go/internal/wav"
)

// How much audio a message has.
const chunk = 80 * time.Millisecond

func main() {
	server := flag.String("server", "127.0.0.1:50051", "host:port of the service")
	caFile := flag.String("ca-file", "", "use TLS, and trust the authorities in this PEM file")
	useTLS := flag.Bool("tls", false, "use TLS, and trust the system's authorities")
	model := flag.String("model", "", "the model; empty for the service's default")
	rate := flag.Int("rate", 16000, "samples a second of raw audio")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: live [flags] RECORDING.wav\n       arecord -q -t raw -f S16_LE -r 16000 | live [flags] -\n\n"+
			"Streams a WAV file (16-bit PCM) in real time, or raw 16-bit mono audio from stdin, and prints words as they\n"+
			"come. The session outlives broken connections. The API key, if the service wants one, is taken from DSM_API_KEY.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	options := []dsmstt.Option{dsmstt.WithAPIKey(os.Getenv("DSM_API_KEY"))}
	if *useTLS {
		options = append(options, dsmstt.WithTLS())
	}
	if *caFile != "" {
		options = append(options, dsmstt.WithCAFile(*caFile))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	source, err := openSource(flag.Arg(0), *rate)
	if err == nil {
		err = live(ctx, *server, *model, source, options)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// source gives audio in pieces of `chunk`.
type source struct {
	format dsmstt.AudioFormat
	audio  io.Reader
	// A file is there at once and must be slowed down; a microphone is slow by itself.
	paced bool
}

func openSource(path string, rate int) (*source, error) {
	format := dsmstt.AudioFormat{Encoding: dsmstt.Linear16, SampleRate: rate, Channels: 1}
	if path == "-" {
		return &source{format: format, audio: os.Stdin}, nil
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	recording, err := wav.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	format.SampleRate, format.Channels = recording.SampleRate, recording.Channels
	return &source{format: format, audio: bytes.NewReader(recording.Samples), paced: true}, nil
}

func live(ctx context.Context, server, model string, source *source, options []dsmstt.Option) error {
	client, err := dsmstt.NewClient(server, options...)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	config := dsmstt.StreamConfig{Model: model, Audio: source.format, Resume: &dsmstt.ResumeOptions{}}
	stream, err := client.Stream(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	sent := make(chan error, 1)
	go func() { sent <- send(stream, source) }()
	for event := range stream.Events() {
		switch event := event.(type) {
		case dsmstt.ResultEvent:
			for _, word := range event.Words {
				fmt.Printf("%6.2f  %s\n", word.Start.Seconds(), word.Text)
			}
		case dsmstt.ResumedEvent:
			fmt.Fprintln(os.Stderr, "connected again:", event.Cause)
		case dsmstt.WarningEvent:
			fmt.Fprintln(os.Stderr, "warning:", event.Message)
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return <-sent
}

func send(stream *dsmstt.Stream, source *source) error {
	pieceBytes := int(chunk.Seconds()*float64(source.format.SampleRate)) * 2 * source.format.Channels
	piece := make([]byte, pieceBytes)
	began := time.Now()
	for count := 1; ; count++ {
		n, err := io.ReadFull(source.audio, piece)
		if sendErr := stream.Send(piece[:n]); sendErr != nil {
			return sendErr
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return stream.CloseSend()
		}
		if err != nil {
			return err
		}
		if source.paced {
			time.Sleep(time.Until(began.Add(time.Duration(count) * chunk)))
		}
	}
}
