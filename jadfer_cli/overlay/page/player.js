// The video, frame by frame. A frame is found by its time, never by a frame rate.

class Player {
  constructor(video, shows) {
    this.video = video;
    this.shows = shows; // called with the index of the frame that is seen
    this.frame = 0;
    this.offset = data.first_frame_s; // by the clock of the browser
    this.exact = "requestVideoFrameCallback" in HTMLVideoElement.prototype;
    this.wanted = null; // the frame to seek to once the current seek is done
    this.ready = new Promise(resolve => { this.calibrated = resolve; });
    video.addEventListener("seeked", () => this.seeked());
    video.addEventListener("loadeddata", () => setTimeout(() => this.calibrated(), this.exact ? 1500 : 0));
    video.addEventListener("error", () => this.calibrated());
    if (this.exact) this.watch(true); else this.poll();
  }

  // Browsers differ in what they call time 0; the first picture that they present tells.
  watch(first) {
    this.video.requestVideoFrameCallback((_, presented) => {
      if (first && this.wanted === null && !this.video.seeking && this.video.currentTime < 0.001) {
        this.offset = presented.mediaTime - starts[0];
      }
      this.calibrated();
      this.presented(presented.mediaTime - this.offset);
      this.watch(false);
    });
  }

  poll() {
    if (!this.video.paused && !this.video.seeking) {
      this.see(Math.max(lastUpTo(starts, this.video.currentTime - this.offset), 0));
    }
    requestAnimationFrame(() => this.poll());
  }

  // The time of a picture in microseconds may round to just before its frame.
  presented(time) {
    const before = Math.max(lastUpTo(starts, time), 0), after = Math.min(before + 1, nFrames - 1);
    const nearest = Math.abs(starts[after] - time) < Math.abs(starts[before] - time) ? after : before;
    this.seen = nearest;
    if (this.wanted === null && starts[nearest] !== starts[this.frame]) this.see(nearest);
  }

  see(frame) {
    this.frame = frame;
    this.shows(frame);
  }

  async go(frame) {
    frame = Math.min(Math.max(frame, 0), nFrames - 1);
    const idle = this.wanted === null;
    this.wanted = frame;
    this.see(frame);
    if (!idle) return; // `seeked` continues
    await this.ready;
    this.seek();
  }

  // To the middle of the frame's interval, so that rounding cannot show a neighbour.
  seek() {
    this.target = this.wanted;
    if (this.video.readyState === 0) { this.wanted = null; return; }
    this.video.currentTime = this.offset + (starts[this.target] + ends[this.target]) / 2;
  }

  seeked() {
    if (this.wanted !== null && this.wanted !== this.target) this.seek();
    else this.wanted = null;
  }

  step(by) {
    this.video.pause();
    this.go(this.frame + by);
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => {}); else this.video.pause();
  }
}
