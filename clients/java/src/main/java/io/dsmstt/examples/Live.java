package io.dsmstt.examples;

import io.dsmstt.AudioFormat;
import io.dsmstt.DsmSttClient;
import io.dsmstt.DsmSttException;
import io.dsmstt.Event;
import io.dsmstt.Stream;
import io.dsmstt.StreamConfig;
import io.dsmstt.StreamListener;
import io.dsmstt.Word;
import java.io.BufferedInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import javax.sound.sampled.AudioInputStream;
import javax.sound.sampled.AudioSystem;
import javax.sound.sampled.UnsupportedAudioFileException;

/** Streams audio as fast as it is spoken and prints words as they come. */
public final class Live {
  private static final String USAGE =
      """
      Usage: Live [--server HOST:PORT] [--tls | --ca-file FILE] RECORDING.wav
             arecord -q -t raw -f S16_LE -r 16000 | Live [--rate HERTZ] [...] -

      Streams a WAV file (16-bit PCM) in real time, or raw 16-bit mono audio from stdin, and prints words as they come.
      The session outlives broken connections.

        --server HOST:PORT  the service; 127.0.0.1:50051 without
        --tls               use TLS, and trust the authorities of the Java runtime
        --ca-file FILE      use TLS, and trust the authorities in this PEM file
        --rate HERTZ        samples a second of raw audio; 16000 without

      The API key, if the service wants one, is taken from DSM_API_KEY.
      """;
  private static final int CHUNK_MS = 80;

  private Live() {}

  /** Runs the program. */
  public static void main(String[] args) throws IOException, InterruptedException, UnsupportedAudioFileException {
    Arguments arguments = Arguments.parse(args, USAGE);
    try (DsmSttClient client = arguments.client()) {
      if (arguments.recording().equals("-")) {
        AudioFormat raw = AudioFormat.linear16(arguments.rate());
        stream(client, raw, new BufferedInputStream(System.in), false);
        return;
      }
      try (AudioInputStream wav = AudioSystem.getAudioInputStream(new File(arguments.recording()))) {
        var found = wav.getFormat();
        if (found.getSampleSizeInBits() != 16 || found.isBigEndian()) {
          throw new UnsupportedAudioFileException("wanted 16-bit PCM, got " + found);
        }
        int rate = Math.round(found.getSampleRate());
        stream(client, new AudioFormat(AudioFormat.Encoding.LINEAR16, rate, found.getChannels()), wav, true);
      }
    } catch (DsmSttException failure) {
      System.err.println(failure);
      System.exit(1);
    }
  }

  /** Streams until the audio ends. A file is there at once and must be paced; a microphone is slow by itself. */
  private static void stream(DsmSttClient client, AudioFormat format, InputStream audio, boolean paced)
      throws IOException, InterruptedException {
    StreamConfig config = StreamConfig.of(format).withResume(Duration.ofSeconds(60));
    StreamListener printer = Live::print;
    try (Stream stream = client.stream(config, printer)) {
      byte[] piece = new byte[format.sampleRate() * CHUNK_MS / 1000 * 2 * format.channels()];
      long began = System.nanoTime();
      int count = 0;
      for (int read; (read = audio.readNBytes(piece, 0, piece.length)) > 0; ) {
        stream.send(piece, 0, read);
        long due = began + TimeUnit.MILLISECONDS.toNanos((long) ++count * CHUNK_MS);
        if (paced) {
          TimeUnit.NANOSECONDS.sleep(due - System.nanoTime());
        }
      }
      stream.finish();
      stream.join();
    }
  }

  private static void print(Event event) {
    if (event instanceof Event.Result result) {
      for (Word word : result.words()) {
        System.out.printf(Locale.ROOT, "%6.2f  %s%n", word.start().toMillis() / 1000.0, word.text());
      }
    } else if (event instanceof Event.Resumed resumed) {
      System.err.println("connected again: " + resumed.cause());
    } else if (event instanceof Event.Warning warning) {
      System.err.println("warning: " + warning.message());
    }
  }
}
