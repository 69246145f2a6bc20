"""Trains the models of one rollout after the other and writes them, with the images to ask about, to a directory.

Handwritten digits that come with scikit-learn, 8 by 8 pixels each. The last 500 images are never trained on.

  v1  a linear model that has seen 120 images: the older one
  v2  a support vector machine that has seen 1200: the better one
  v3  trained on images shrunk to 4 by 4 by whoever forgot that the clients do not shrink them: it loads, says that it is
      ready, and fails at every request
"""

import json
import pathlib
import sys
import warnings

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

UNSEEN = 500


def main():
    folder = pathlib.Path(sys.argv[1])
    warnings.simplefilter("ignore")  # That few images and few iterations make no good model is the point of v1.
    images, digits = load_digits(return_X_y=True)
    seen, known = images[:-UNSEEN], digits[:-UNSEEN]
    shrunk = seen.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    models = {
        "v1": LogisticRegression(max_iter=20).fit(seen[:120], known[:120]),
        "v2": SVC(gamma=0.001).fit(seen[:1200], known[:1200]),
        "v3": LogisticRegression(max_iter=20).fit(shrunk, known),
    }
    for name, model in models.items():
        joblib.dump(model, folder / f"{name}.joblib")
    asked = [{"image": image.tolist(), "digit": int(digit)} for image, digit in zip(images[-UNSEEN:], digits[-UNSEEN:])]
    (folder / "images.json").write_text(json.dumps(asked))


if __name__ == "__main__":
    main()
