// @ts-check
/** The frame that a video shows, as a picture. */

const SEEK_TIMEOUT_MS = 5000; // a seek to bytes that are still downloaded may take longer

/** Wait for the end of a seek in progress. @returns {Promise<void>} */
function seekEnd(/** @type {HTMLVideoElement} */ video) {
  if (!video.seeking) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      video.removeEventListener("seeked", done);
      resolve();
    };
    const timer = setTimeout(done, SEEK_TIMEOUT_MS);
    video.addEventListener("seeked", done);
  });
}

/**
 * Draw the current frame as PNG; during a seek, the frame that it leads to.
 * @param {HTMLVideoElement} video
 * @param {number} maxPixels a larger frame is scaled down
 * @param {import("./frames.js").Stepper} [stepper] which knows when the frame after a seek is shown
 * @returns {Promise<Blob | string>} the picture, or the reason why there is none
 */
export async function takeSnapshot(video, maxPixels, stepper = undefined) {
  await seekEnd(video);
  await stepper?.shown();
  const { videoWidth, videoHeight } = video;
  if (video.readyState < 2 || !videoWidth || !videoHeight) return "no frame is shown yet";
  const scale = Math.min(1, Math.sqrt(maxPixels / (videoWidth * videoHeight)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(videoWidth * scale));
  canvas.height = Math.max(1, Math.floor(videoHeight * scale));
  try {
    const context = canvas.getContext("2d");
    if (!context) return "the browser offers no canvas here";
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const picture = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    return picture ?? "the browser could not encode it as PNG";
  } catch {
    return "the browser does not allow reading a frame that was loaded by this route";
  }
}
