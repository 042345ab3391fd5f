package io.dsmstt;

import com.google.protobuf.ByteString;
import io.dsmstt.speech.v1.Flush;
import io.dsmstt.speech.v1.KeepAlive;
import io.dsmstt.speech.v1.RecognitionConfig;
import io.dsmstt.speech.v1.Silence;
import io.dsmstt.speech.v1.StreamingRecognizeRequest;
import io.dsmstt.speech.v1.Update;
import java.time.Duration;

/** The requests of a stream. */
final class Requests {
  private Requests() {}

  static StreamingRecognizeRequest config(RecognitionConfig config) {
    return StreamingRecognizeRequest.newBuilder().setConfig(config).build();
  }

  static StreamingRecognizeRequest audio(ByteString audio) {
    return StreamingRecognizeRequest.newBuilder().setAudio(audio).build();
  }

  static StreamingRecognizeRequest silence(Duration duration) {
    Silence silence = Silence.newBuilder().setDuration(Times.proto(duration)).build();
    return StreamingRecognizeRequest.newBuilder().setSilence(silence).build();
  }

  static StreamingRecognizeRequest flush(Flush.Builder flush) {
    return StreamingRecognizeRequest.newBuilder().setFlush(flush).build();
  }

  static StreamingRecognizeRequest update(Update.Builder update) {
    return StreamingRecognizeRequest.newBuilder().setUpdate(update).build();
  }

  static StreamingRecognizeRequest keepAlive() {
    return StreamingRecognizeRequest.newBuilder().setKeepAlive(KeepAlive.getDefaultInstance()).build();
  }
}
